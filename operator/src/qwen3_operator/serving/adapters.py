"""Adapters that pools hold for evaluations: found in the bucket and checked."""

from collections.abc import Collection, Mapping, Sequence

from qwen3_api.job import layout
from qwen3_api.job.base import S3Location
from qwen3_api.job.report import adapter_id
from qwen3_api.serving.pool import PoolAdapter, PoolIndex
from qwen3_api.v1alpha1.adapter_target import AdapterRevision, AdapterTarget
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.training import BaseModelSpec
from qwen3_operator.context import Context
from qwen3_operator.controller.errors import OperatorError, Waiting
from qwen3_operator.controller.keys import Key
from qwen3_operator.controller.logs import get_logger
from qwen3_operator.controller.reconciler import incident_of
from qwen3_operator.evaluation.views import ReadableEvaluation, wants_adapter
from qwen3_operator.finetune.gather import verify
from qwen3_operator.finetune.views import ReadableFineTune, revision_folder
from qwen3_operator.resources.base_model import resolve_model
from qwen3_operator.resources.job import parse_s3_uri
from qwen3_operator.resources.keys import EVAL
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.serving.adapter import (
    Guest,
    build_adapter,
    build_own_adapter,
    check_adapter,
    find_no_revision,
)

logger = get_logger(__name__)


def find_sides(
    ctx: Context, evaluations: Sequence[ReadableEvaluation]
) -> list[tuple[BaseModelSpec, StorageTarget | None]]:
    """Base model and bucket of the pool, as each of its guests has it."""
    sides: list[tuple[BaseModelSpec, StorageTarget | None]] = []
    for ev in evaluations:
        target = wants_adapter(ev)
        if target is None:
            continue
        if target.base_model is not None:
            sides.append((target.base_model, ev.storage))
        elif target.fine_tune is not None:
            ft = ctx.finetune(ev.meta.namespace, target.fine_tune.name)
            if isinstance(ft, ReadableFineTune):
                sides.append((ft.spec.base_model, ft.storage))
    return sides


async def gather_guests(
    ctx: Context, evaluations: Sequence[ReadableEvaluation], index: PoolIndex | None, asker: Key
) -> list[Guest]:
    """Those that a pool shall hold now, the first that was asked for first.

    A folder that was not looked at yet is none: its evaluation reads it and wakes the pool, whose
    members don't wait for that. One that the index names stays, whatever an operator that was
    restarted remembers.

    Raises:
        StorageProblem, Transient: see ObjectStore.get.
    """
    known = {a.id: a for a in index.adapters} if index is not None else {}
    found: list[Guest | FailureStatus | None] = []
    for ev in evaluations:
        try:
            found.append(await _find_guest(ctx, ev, known, asker))
        except OperatorError:
            raise
        except Exception as error:
            # As for members: its own reconcile reports it, and the others don't wait for it.
            incident = incident_of(asker, error)
            logger.exception(
                "evaluation skipped", extra={"evaluation": ev.meta.name, "incident": incident}
            )
    # What is wrong with the others is told in the status of their evaluations.
    guests = [g for g in found if isinstance(g, Guest)]
    return sorted(guests, key=lambda g: (g.since, g.evaluation))


async def _find_guest(
    ctx: Context, ev: ReadableEvaluation, known: Mapping[str, PoolAdapter], asker: Key
) -> Guest | FailureStatus | None:
    target = wants_adapter(ev)
    if target is None:
        return None
    if target.fine_tune is None:
        return _recall_folder(ctx, ev, target, known)
    try:
        return await _of_revision(ctx, ev, target.fine_tune, asker, known)
    except Waiting:
        # The pool's members don't wait for it; `asker` is woken.
        return None


async def gather_guest(
    ctx: Context, ev: ReadableEvaluation, target: AdapterTarget
) -> Guest | FailureStatus:
    """The adapter of an evaluation, or why there is none.

    Raises:
        StorageProblem, Transient: see ObjectStore.get.
    """
    if target.fine_tune is not None:
        asker = Key(EVAL, ev.meta.namespace, ev.meta.name)
        return await _of_revision(ctx, ev, target.fine_tune, asker)
    return await _of_folder(ctx, ev, target)


async def _of_revision(
    ctx: Context,
    ev: ReadableEvaluation,
    wanted: AdapterRevision,
    asker: Key,
    loaded: Collection[str] = (),
) -> Guest | FailureStatus:
    ft = ctx.finetune(ev.meta.namespace, wanted.name)
    if not isinstance(ft, ReadableFineTune) or ft.storage is None:
        return find_no_revision(wanted.name, wanted.revision, ft)
    storage = ft.storage
    folder = revision_folder(ft.meta, wanted.revision, storage)
    commit = await ctx.artifacts.read_commit(folder)
    if commit is None:
        return find_no_revision(wanted.name, wanted.revision, ft)
    if isinstance(commit, FailureStatus):
        return commit
    base = ft.spec.base_model
    adapter = build_own_adapter(ft.meta.namespace, ft.meta.name, commit, storage)
    try:
        problem = await verify(ctx, ft, folder, commit, asker)
    except Waiting:
        if adapter.id not in loaded:
            raise
        problem = None
    problem = problem or check_adapter(
        commit.rank, commit.provenance.base_model, base, ctx.settings
    )
    if problem is not None:
        return problem
    return Guest(
        namespace=ev.meta.namespace,
        adapter=adapter,
        base_model=base,
        storage=storage,
        pool=ft.pool,
        since=ev.meta.created,
        evaluation=ev.meta.name,
        revision=wanted.revision,
    )


async def _of_folder(
    ctx: Context, ev: ReadableEvaluation, target: AdapterTarget
) -> Guest | FailureStatus:
    base, storage = target.base_model, ev.storage
    if target.s3 is None or target.digest is None or base is None or ev.pool is None:
        raise LookupError("a target of type Adapter without its fields passed API validation")
    if storage is None:
        raise LookupError("an evaluation without a bucket must be rejected before its target")
    if resolve_model(base, ctx.settings) is None:
        return FailureStatus.of(
            Reason.BASE_MODEL_NOT_FOUND,
            f"target.adapter.baseModel: {base.name} isn't in the platform's catalogue",
            "Use one from the catalogue, or set baseModel.source; then apply a new evaluation.",
        )
    folder = parse_s3_uri(target.s3.uri, storage)
    problem = _check_place(ev.meta.namespace, target.s3.uri, folder, storage)
    if problem is not None:
        return problem
    found = await ctx.artifacts.foreign.read(folder, target.digest)
    if found is None:
        return FailureStatus.of(
            Reason.ADAPTER_NOT_FOUND,
            f"target.adapter.s3: {folder.uri}/ is empty",
            "Upload the adapter's files to it.",
        )
    if isinstance(found, FailureStatus):
        return found
    problem = check_adapter(found.rank, found.base_model, base, ctx.settings)
    if problem is not None:
        return problem
    id_ = adapter_id(ev.meta.namespace, ev.meta.name, target.digest)
    adapter = build_adapter(id_, target.digest, folder, found.files, found.rank)
    return _guest_of_folder(ev, ev.pool, base, storage, adapter)


def _recall_folder(
    ctx: Context, ev: ReadableEvaluation, target: AdapterTarget, known: Mapping[str, PoolAdapter]
) -> Guest | None:
    """A folder that was found good, by this operator or by the one before."""
    base, storage = target.base_model, ev.storage
    if storage is None or base is None or ev.pool is None:
        return None
    if target.s3 is None or not target.digest:
        return None
    folder = parse_s3_uri(target.s3.uri, storage)
    id_ = adapter_id(ev.meta.namespace, ev.meta.name, target.digest)
    entry, found = known.get(id_), ctx.artifacts.foreign.recall(folder, target.digest)
    if _check_place(ev.meta.namespace, target.s3.uri, folder, storage) is not None:
        return None
    if found is not None:
        if check_adapter(found.rank, found.base_model, base, ctx.settings) is not None:
            return None
        adapter = build_adapter(id_, target.digest, folder, found.files, found.rank)
    elif entry is not None and entry.digest == target.digest:
        adapter = entry
    else:
        return None
    return _guest_of_folder(ev, ev.pool, base, storage, adapter)


def _guest_of_folder(
    ev: ReadableEvaluation,
    pool: str,
    base: BaseModelSpec,
    storage: StorageTarget,
    adapter: PoolAdapter,
) -> Guest:
    return Guest(
        namespace=ev.meta.namespace,
        adapter=adapter,
        base_model=base,
        storage=storage,
        pool=pool,
        since=ev.meta.created,
        evaluation=ev.meta.name,
    )


def _check_place(
    namespace: str, uri: str, folder: S3Location, storage: StorageTarget
) -> FailureStatus | None:
    """The operator's credentials see every tenant's folder: it reads below the namespace's only."""
    mine = f"{layout.tenant_prefix(storage.prefix, namespace)}/"
    odd = {"", ".", ".."} & set(folder.prefix.split("/"))
    if folder.bucket == storage.bucket and folder.prefix.startswith(mine) and not odd:
        return None
    return FailureStatus.of(
        Reason.STORAGE_DENIED,
        f"target.adapter.s3.uri: {uri[:300]} is outside s3://{storage.bucket}/{mine}",
        "Copy the adapter below that prefix, or name its bucket in output.s3; then apply a new "
        "evaluation.",
    )
