"""The decision about one serving pool: its desired set, its objects, its end. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from qwen3_api.job.report import Commit, adapter_id
from qwen3_api.serving.pool import CurrentAlias, PoolAdapter, PoolCanary, PoolIndex
from qwen3_operator.resources.actions import Deletion
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import parse_time
from qwen3_operator.serving.actions import PoolPlan
from qwen3_operator.serving.adapter import Guest, capacity
from qwen3_operator.serving.manifests import PoolSpec, build_pool_objects
from qwen3_operator.serving.views import PoolPod, agent_adapter
from qwen3_operator.settings import Settings

POOL_KINDS = (
    "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "ConfigMap",
)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """A fine-tune that is served by the pool, and what of it is in the bucket."""

    name: str
    uid: str
    alias: str
    replicas: int
    revision: str
    """The revision that the spec asks for."""
    current: CurrentAlias | None
    """What its public name stands for; None: nothing yet, or the name is another's."""
    commits: Mapping[str, Commit]
    """Verified commits by adapter id: the candidate's, the current's, the previous one's."""
    candidate: Commit | None
    """The verified commit of `revision`; None too when it was refused and shan't be held."""
    rollback: Commit | None = None
    """The verified commit of promotion.rollbackTo."""
    canary_weight: int | None = None
    """Percent of the public name's requests for `current.canary`; None: there is none."""
    keep_previous_seconds: float = 0
    """How long the replaced revision stays loaded, at least."""


def plan_pool(
    spec: PoolSpec | None,
    members: Sequence[Member],
    index: PoolIndex | None,
    exists: bool,
    name: str,
    settings: Settings,
    now: datetime,
    held: Collection[str] = (),
    pods: Sequence[PoolPod] = (),
    guests: Sequence[Guest] = (),
    kept: Collection[str] = (),
) -> PoolPlan:
    """What the pool shall hold.

    A pool exists from its first committed adapter to the end of its last member; before that it
    would hold a GPU for nothing. For guests alone it exists as long as they do.

    held: public names of fine-tunes whose spec can't be read now. They stay as they are.
    pods: of the pool, if `needs_pods` says that they matter.
    guests: adapters of evaluations, the first that was asked for first.
    kept: names of fine-tunes about which nothing is known now. Their entries stay as they are.
    """
    serving = [m for m in members if m.current is not None or m.candidate is not None]
    needed = bool(serving or guests)
    if (held or kept) and (spec is None or not needed):
        return PoolPlan(index=None)
    if spec is None or not needed:
        deletions = tuple(Deletion(kind, name) for kind in POOL_KINDS) if exists else ()
        return PoolPlan(index=None, delete=deletions)
    wanted, wait = build_index(spec, serving, index, settings, now, held, pods, guests, kept)
    return PoolPlan(
        index=wanted if index is None or not same_content(wanted, index) else None,
        apply=build_pool_objects(spec, settings),
        requeue_after=wait,
    )


def same_content(a: PoolIndex, b: PoolIndex) -> bool:
    """Equal but for the serial."""
    return a.model_copy(update={"serial": 0}) == b.model_copy(update={"serial": 0})


def _keep_entries(
    before: PoolIndex,
    owner: str,
    adapters: dict[str, PoolAdapter],
    aliases: dict[str, str],
    canaries: dict[str, PoolCanary],
) -> None:
    """Takes over what the index has of one fine-tune: ids begin with its namespace and name, and a
    digest has no dot."""
    mine = {a.id: a for a in before.adapters if a.id.rpartition(".")[0] == owner}
    adapters |= mine
    aliases |= {alias: i for alias, i in before.aliases.items() if i in mine}
    canaries |= {alias: c for alias, c in before.canaries.items() if c.id in mine}


def build_index(
    spec: PoolSpec,
    members: Sequence[Member],
    before: PoolIndex | None,
    settings: Settings,
    now: datetime,
    held: Collection[str] = (),
    pods: Sequence[PoolPod] = (),
    guests: Sequence[Guest] = (),
    kept: Collection[str] = (),
) -> tuple[PoolIndex, float | None]:
    """The desired set, and in how many seconds a draining adapter may leave it.

    Guests get the places that are left: an evaluation waits, what serves doesn't.
    """
    adapters: dict[str, PoolAdapter] = {}
    aliases: dict[str, str] = {}
    canaries: dict[str, PoolCanary] = {}
    waits: list[float] = []
    known = {a.id: a for a in before.adapters} if before else {}
    for alias in held:
        entry = known.get(before.aliases.get(alias, "")) if before else None
        if entry is not None:
            aliases[alias] = entry.id
            adapters[entry.id] = entry
    if before is not None:
        for name in kept:
            _keep_entries(before, f"{spec.namespace}.{name}", adapters, aliases, canaries)
    for member in sorted(members, key=lambda m: m.name):
        current = member.current
        incumbent = _build_incumbent(member, current, spec, known, pods) if current else None
        if current is not None and incumbent is not None:
            aliases[member.alias] = current.id
            adapters[current.id] = incumbent
            left = drain_left(current, member.keep_previous_seconds, settings, now)
            previous = current.previous_id
            if previous and previous in member.commits and left > 0:
                waits.append(left)
                adapters.setdefault(
                    previous,
                    _build_adapter(
                        previous, member.commits[previous], spec.storage, required=False
                    ),
                )
        for commit in (member.candidate, member.rollback):
            if commit is not None:
                id_ = adapter_id(spec.namespace, member.name, commit.digest)
                adapters.setdefault(id_, _build_adapter(id_, commit, spec.storage, required=False))
        canary = current.canary if current is not None else None
        if canary is not None and member.canary_weight and canary.id in adapters:
            canaries[member.alias] = PoolCanary(id=canary.id, weight_percent=member.canary_weight)
    for guest in guests:
        if len(adapters) < capacity(settings):
            adapters.setdefault(guest.adapter.id, guest.adapter)
    index = PoolIndex(
        namespace=spec.namespace,
        pool=spec.name,
        base_model=spec.base_model,
        max_rank=settings.serving.max_lora_rank,
        adapters=sorted(adapters.values(), key=lambda a: a.id),
        aliases=aliases,
        canaries=canaries,
        serial=(before.serial if before else 0) + 1,
    )
    return index, min(waits, default=None)


def needs_pods(members: Sequence[Member]) -> bool:
    """Whether it matters what pods hold: the files of an incumbent don't verify any more."""
    return any(m.current is not None and m.current.id not in m.commits for m in members)


def _build_incumbent(
    member: Member,
    current: CurrentAlias,
    spec: PoolSpec,
    known: Mapping[str, PoolAdapter],
    pods: Sequence[PoolPod],
) -> PoolAdapter | None:
    """The adapter behind a public name.

    When its files don't verify any more, its entry stays for as long as a pod may have a good copy.
    After that it goes: no pod could ever load it, and so none of the pool's would become ready.
    """
    commit = member.commits.get(current.id)
    if commit is not None:
        return _build_adapter(current.id, commit, spec.storage, required=True)
    entry = known.get(current.id)
    if entry is None or entry.digest != current.digest:
        return None
    if not any(_may_hold(p, current) for p in pods):
        return None
    return entry.model_copy(update={"required": True})


def _may_hold(pod: PoolPod, current: CurrentAlias) -> bool:
    """It has it loaded, is about to (its files outlive a restart of vLLM), or doesn't say."""
    if pod.agent is None:
        return True
    adapter = agent_adapter(pod.agent, current.id)
    if adapter is None or adapter.state == "Failed":
        return False
    return adapter.state != "Loaded" or adapter.digest == current.digest


def drain_left(current: CurrentAlias, keep: float, settings: Settings, now: datetime) -> float:
    """Seconds that the adapter before the present one still has to be there."""
    age = (now - parse_time(current.promoted)).total_seconds()
    return max(settings.serving.drain_seconds, keep) - age


def _build_adapter(
    id_: str, commit: Commit, storage: StorageTarget, *, required: bool
) -> PoolAdapter:
    return PoolAdapter(
        id=id_,
        digest=commit.digest,
        location=storage.location(commit.prefix),
        files=commit.files,
        rank=commit.rank,
        required=required,
        enable_thinking=commit.provenance.enable_thinking,
    )
