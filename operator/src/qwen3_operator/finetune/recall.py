"""The state of a fine-tune that stays known while its bucket can't be read. Pure.

Two witnesses are left. The sidecars of its pool report what they answer now, which takes no bucket.
The written status holds what earlier reads showed, and a commit is never written again. Nothing is
decided from either: no promotion, no Job, no deletion.
"""

from dataclasses import dataclass

from qwen3_api.job.report import adapter_id
from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus, RevisionStatus, ServingStatus
from qwen3_api.v1alpha1.meta import ConditionStatus
from qwen3_api.v1alpha1.promotion import Move
from qwen3_operator.finetune.actions import ServingPlan
from qwen3_operator.finetune.promotion.gates import kept_evaluation
from qwen3_operator.finetune.promotion.outcome import describe_served
from qwen3_operator.finetune.views import FineTune, Observed, ReadableFineTune
from qwen3_operator.resources.conditions import find
from qwen3_operator.resources.identity import wanted_exports
from qwen3_operator.serving.views import POLL_STEADY, PoolView, agreed_answer


@dataclass(frozen=True)
class Recalled:
    """The current revision, by the written status and by the documents that could be read."""

    current: bool
    """The written status is about this revision, so its conditions stand."""
    committed: bool = False
    stored: bool = False
    """Every file of the commit was found with its size and digest."""
    exported: bool | None = None
    """Every artifact of the spec was found. None: the spec has none."""
    failure: FailureStatus | None = None
    """The recorded failure of its Job, while that Job exists."""


def recall_revision(ft: ReadableFineTune, observed: Observed) -> Recalled:
    """What is known of the revision that the spec wants."""
    spec, revision = ft.spec, ft.revision
    current = bool(ft.status.revisions) and ft.status.revisions[0].id == revision
    entry = _entry(ft.status, revision)
    verified = entry is not None and entry.adapter_digest is not None
    trained = find(ft.status.conditions, ConditionType.TRAINED) if current else None
    wanted = set(wanted_exports(spec))
    found = {e.artifact for e in observed.exports}
    if entry is not None:
        found |= {e.name for e in entry.exports}
    return Recalled(
        current=current,
        committed=verified
        or observed.commit is not None
        or (trained is not None and trained.status is ConditionStatus.TRUE),
        stored=observed.verified or (verified and observed.artifact_problem is None),
        exported=found >= wanted if wanted else None,
        failure=_recall_failure(ft.status.failure, observed),
    )


def _recall_failure(recorded: FailureStatus | None, observed: Observed) -> FailureStatus | None:
    """Without it the cause is lost: the report is in the bucket, and the pod may be deleted."""
    jobs = (observed.job, observed.preflight_job, observed.export_job)
    failed = {job.uid for job in jobs if job is not None and job.failed}
    return recorded if recorded is not None and recorded.job_uid in failed else None


def last_move(status: FineTuneStatus) -> str | None:
    """The revision that the public name was moved to last."""
    moves = (e.revision for e in status.history if e.action is not Move.REFUSED)
    return next(moves, None)


def recall_serving(
    ft: FineTune,
    alias: str,
    wanted: str | None,
    pool: PoolView,
    endpoint: str | None,
    *,
    revision: str | None = None,
) -> ServingPlan | None:
    """Serving, as the sidecars report it; None if status records none and nothing answers.

    wanted: the revision that must have the public name. revision: the one of the spec, where that
    may be another (a rollback). endpoint: of the pool.
    """
    before = ft.status.serving
    ready = [p for p in pool.pods if p.ready]
    answer = agreed_answer(ready, alias)
    found = _name_answer(ft, *answer) if answer is not None else None
    if before is None and found is None:
        return None
    before = before or ServingStatus()
    same_name = before.model_name == alias
    status = ServingStatus(
        endpoint=endpoint or before.endpoint,
        model_name=alias,
        model_id=answer[0] if answer is not None and found else None,
        revision=found,
        digest=answer[1] if answer is not None and found else None,
        loaded_replicas=len(ready) if found else 0,
        desired_replicas=pool.desired_replicas,
        candidate_id=before.candidate_id if same_name else None,
        canary_weight_percent=before.canary_weight_percent if same_name else None,
    )
    reason, message, enough = _weigh(ft, status, pool, wanted)
    if enough and revision is not None and wanted != revision:
        reason = Reason.ROLLED_BACK
    served, served_message = describe_served(status, pool)
    if reason is Reason.PENDING:
        served_message = message
    return ServingPlan(
        reason,
        message,
        ready=enough,
        served=served,
        served_message=served_message,
        status=status,
        evaluation=kept_evaluation(ft, revision) if revision is not None else None,
        requeue_after=POLL_STEADY,
    )


def _weigh(
    ft: FineTune, status: ServingStatus, pool: PoolView, wanted: str | None
) -> tuple[Reason, str, bool]:
    """Reason, message, and whether the wanted revision answers on every desired pod."""
    if status.revision is None:
        _, message = describe_served(status, pool)
        if last_move(ft.status) is None:
            return Reason.PENDING, "no revision was promoted yet", False
        down = not any(p.ready for p in pool.pods)
        reason = Reason(pool.trouble.reason) if pool.trouble and down else Reason.POOL_NOT_READY
        return reason, message, False
    if status.revision != wanted:
        return Reason.OLDER_REVISION, f"revision {status.revision} is in service", False
    if status.loaded_replicas < status.desired_replicas:
        message = (
            f"{status.loaded_replicas} of {status.desired_replicas} pods serve {status.model_id}"
        )
        return Reason.POOL_SCALING, message, False
    message = f"{status.model_name} answers from {status.model_id} on {status.loaded_replicas} pods"
    return Reason.SERVED, message, True


def _name_answer(ft: FineTune, model_id: str, digest: str) -> str | None:
    """The revision that a pool answers from: the recorded serving one, else the last one that the
    public name was moved to (two revisions may have the same bytes), else any with the digest."""
    if model_id != adapter_id(ft.meta.namespace, ft.meta.name, digest):
        return None
    serving = ft.status.serving
    if serving is not None and serving.digest == digest and serving.revision is not None:
        return serving.revision
    known = [r.id for r in ft.status.revisions if r.adapter_digest == digest]
    moved = [e.revision for e in ft.status.history if e.action is not Move.REFUSED]
    return next((r for r in [*moved, *known] if r in known), None)


def _entry(status: FineTuneStatus, revision: str) -> RevisionStatus | None:
    return next((r for r in status.revisions if r.id == revision), None)
