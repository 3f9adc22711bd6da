"""The decision about one fine-tune: training and serving planned apart, told in one status."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from qwen3_api.job import layout
from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.finetune import (
    DeletionPolicy,
    FineTuneSpec,
    FineTuneStatus,
    RevisionStatus,
    ServingMode,
)
from qwen3_api.v1alpha1.meta import ConditionStatus
from qwen3_operator.desired.names import (
    FINALIZER,
    StorageTarget,
    job_name,
    pool_name,
    resolve_storage,
    revision_id,
    spec_hash,
)
from qwen3_operator.desired.orders import revision_folder
from qwen3_operator.observed import FineTune, JobView, Observed, Problem
from qwen3_operator.plan.conditions import Conditions, find, format_time
from qwen3_operator.plan.diagnosis import build_failure
from qwen3_operator.plan.fit import resolve_price
from qwen3_operator.plan.numbers import count, decimal
from qwen3_operator.plan.plan import Deletion, Event, FineTunePlan, TrainingPlan
from qwen3_operator.plan.preflight import build_preflight_status
from qwen3_operator.plan.serving import ServingPlan, plan_serving
from qwen3_operator.plan.training import plan_training
from qwen3_operator.plan.training_status import (
    build_queue_status,
    build_training_status,
    build_usage_status,
    status_uri,
)
from qwen3_operator.plan.validate import validate
from qwen3_operator.settings import Settings

MAX_REVISIONS = 20
"""What status.revisions may hold, by the CRD."""
RECHECK_SECONDS = 30.0
"""How often a problem that is mended outside the cluster (a bucket, say) is looked at again."""


def plan_finetune(
    ft: FineTune, observed: Observed, settings: Settings, now: datetime
) -> FineTunePlan:
    """What shall be true next. Guards first, in this order: going away, unreadable, invalid."""
    if ft.meta.deleting:
        return plan_deletion(ft, observed)
    if ft.spec is None:
        return _plan_unreadable(ft, now)
    spec = ft.spec
    digest = spec_hash(spec)
    revision = revision_id(digest)
    problem = validate(spec, observed, settings)
    storage = resolve_storage(spec.artifacts.s3, settings)
    if problem is not None or storage is None:
        training = TrainingPlan(
            Reason(problem.reason) if problem else Reason.STORAGE_NOT_CONFIGURED,
            problem.message if problem else "",
            problem=problem,
            requeue_after=RECHECK_SECONDS,
        )
    else:
        training = plan_training(ft, spec, revision, observed, storage, settings)
    serving = None
    if spec.serving.mode is ServingMode.SHARED_BASE and observed.storage_problem is None:
        serving = plan_serving(ft, spec, revision, observed, settings, now)
    promote = serving.promote if serving is not None and problem is None else None
    story = _Story(revision, digest, problem, storage, training, serving, observed, settings)
    status = _build_status(ft, spec, story, now)
    return FineTunePlan(
        status=status,
        apply=training.apply,
        lifecycle=training.lifecycle,
        delete=(*training.delete, *_obsolete(observed.other_jobs)),
        finalizer=_plan_finalizer(ft, spec),
        promote=promote,
        wake_pool=pool_name(spec, settings) if _pool_must_look(serving, observed) else None,
        events=(
            *training.events,
            *tell_changes(ft, status),
            *(serving.events if serving and promote else ()),
        ),
        requeue_after=_soonest(training.requeue_after, serving.requeue_after if serving else None),
    )


@dataclass(frozen=True)
class _Story:
    revision: str
    digest: str
    problem: Problem | None
    storage: StorageTarget | None
    training: TrainingPlan
    serving: ServingPlan | None
    observed: Observed
    settings: Settings


def _soonest(*delays: float | None) -> float | None:
    return min((d for d in delays if d is not None), default=None)


def _pool_must_look(serving: ServingPlan | None, observed: Observed) -> bool:
    """The pool's own reconcile puts candidates into the index and starts its pods; wake it when
    there is something to serve that isn't there yet, or a name was just moved."""
    if serving is None or observed.commit is None:
        return False
    return not serving.ready


def _obsolete(jobs: Sequence[JobView]) -> tuple[Deletion, ...]:
    """Unfinished Jobs of other revisions: an edit replaced them. Finished ones stay as evidence."""
    return tuple(Deletion.of_job(j) for j in jobs if not j.finished and not j.deleting)


def _plan_finalizer(ft: FineTune, spec: FineTuneSpec) -> bool | None:
    wanted = spec.artifacts.deletion_policy is DeletionPolicy.DELETE
    return wanted if wanted != (FINALIZER in ft.meta.finalizers) else None


def plan_deletion(ft: FineTune, observed: Observed) -> FineTunePlan:
    """Ours only with deletionPolicy Delete: stop the Jobs, wait for their pods, remove the folder,
    let go. A pod that still runs could write after the folder was emptied."""
    if FINALIZER not in ft.meta.finalizers:
        return FineTunePlan(status=None)
    ours = (observed.job, observed.preflight_job, *observed.other_jobs)
    jobs = [j for j in ours if j is not None]
    if jobs or observed.pods:
        return FineTunePlan(
            status=None,
            delete=tuple(Deletion.of_job(j) for j in jobs if not j.deleting),
            requeue_after=2.0,
        )
    return FineTunePlan(
        status=None,
        delete_artifacts=True,
        finalizer=False,
        events=(Event("Normal", "ArtifactsDeleted", "Removed the artifacts from the bucket"),),
    )


def _plan_unreadable(ft: FineTune, now: datetime) -> FineTunePlan:
    """The stored spec breaks a rule that is newer than it. Whatever serves goes on."""
    conditions = Conditions(ft.status.conditions, ft.meta.generation, now)
    conditions.set(ConditionType.READY, False, Reason.INVALID_SPEC, ft.error)
    conditions.set(ConditionType.STALLED, True, Reason.INVALID_SPEC, ft.error)
    conditions.set(ConditionType.VALIDATED, False, Reason.INVALID_SPEC, ft.error)
    status = ft.status.model_copy(
        update={
            "observed_generation": ft.meta.generation,
            "conditions": conditions.to_list(),
            "stage": Reason.INVALID_SPEC.value,
            "failure": build_failure(
                Problem(Reason.INVALID_SPEC, ft.error, "Correct the field and apply again.")
            ),
        }
    )
    return FineTunePlan(status=status, events=tell_changes(ft, status))


def with_refusal(ft: FineTune, status: FineTuneStatus, why: str, now: datetime) -> FineTuneStatus:
    """The status when the API server refused a child: nothing goes on until a person acts."""
    problem = Problem(
        Reason.APPLY_REFUSED,
        why,
        "Correct what the API server names: a field of spec.resources, a quota, or the operator's "
        "rights.",
    )
    told = f"{problem.message}. {problem.hint}"
    conditions = Conditions(ft.status.conditions, ft.meta.generation, now)
    for condition in status.conditions:
        conditions.set(
            ConditionType(condition.type), condition.status, condition.reason, condition.message
        )
    conditions.set(ConditionType.READY, False, problem.reason, told)
    conditions.set(ConditionType.STALLED, True, problem.reason, told)
    conditions.set(ConditionType.RECONCILING, False, problem.reason)
    return status.model_copy(
        update={
            "conditions": conditions.to_list(),
            "stage": str(problem.reason),
            "failure": build_failure(problem),
        }
    )


def _build_status(ft: FineTune, spec: FineTuneSpec, story: _Story, now: datetime) -> FineTuneStatus:
    conditions = Conditions(ft.status.conditions, ft.meta.generation, now)
    stop = _blocking_problem(story)
    _set_stages(conditions, story)
    reason = _summarise(conditions, spec, story, stop)
    serving = story.serving.status if story.serving else None
    current = serving.revision if serving else None
    job = job_name(ft.meta.name, story.revision)
    if story.serving is None and story.observed.verified:
        current = story.revision
    return FineTuneStatus(
        observed_generation=ft.meta.generation,
        conditions=conditions.to_list(),
        stage=str(reason),
        current_revision=current,
        candidate_revision=None if current == story.revision else story.revision,
        revisions=_build_revisions(ft, spec, story, now),
        preflight=build_preflight_status(
            ft.status.preflight,
            story.revision,
            spec,
            story.observed.preflight,
            _preflight_uri(ft, story),
            story.settings,
        ),
        training=build_training_status(ft.status.training, job, story.observed, story.storage),
        usage=build_usage_status(
            ft.status.usage,
            story.observed,
            same_revision=ft.status.training is not None and ft.status.training.job_name == job,
            price=resolve_price(spec, story.settings),
        ),
        queue=build_queue_status(spec, story.training),
        serving=serving,
        failure=build_failure(told) if (told := stop or story.training.warning) else None,
    )


def _preflight_uri(ft: FineTune, story: _Story) -> str | None:
    if story.storage is None:
        return None
    folder = revision_folder(ft.meta, story.digest, story.storage)
    return status_uri(story.storage, folder.join(layout.PREFLIGHT).prefix)


def _blocking_problem(story: _Story) -> Problem | None:
    if story.problem is not None:
        return story.problem
    if story.training.problem is not None:
        return story.training.problem
    return story.serving.problem if story.serving else None


def _set_stages(conditions: Conditions, story: _Story) -> None:
    """The positive conditions, each Unknown until its stage was reached."""
    unknown = ConditionStatus.UNKNOWN
    training, serving, observed = story.training, story.serving, story.observed
    if story.problem is not None:
        conditions.set(ConditionType.VALIDATED, False, story.problem.reason, story.problem.message)
        conditions.set(ConditionType.TRAINED, unknown, Reason.PENDING)
    else:
        _set_validated(conditions, training)
        if training.admitted is not None:
            reason = Reason.ADMITTED if training.admitted else training.reason
            conditions.set(ConditionType.ADMITTED, training.admitted, reason)
        if training.committed:
            conditions.set(ConditionType.TRAINED, True, Reason.COMMITTED)
        else:
            conditions.set(ConditionType.TRAINED, False, training.reason, training.message)
    if observed.artifact_problem is not None:
        p = observed.artifact_problem
        conditions.set(ConditionType.ARTIFACT_STORED, False, p.reason, p.message)
    elif observed.verified:
        conditions.set(ConditionType.ARTIFACT_STORED, True, Reason.VERIFIED)
    else:
        conditions.set(ConditionType.ARTIFACT_STORED, unknown, Reason.PENDING)
    if serving is not None:
        reason = Reason.SERVED if serving.served else serving.reason
        conditions.set(ConditionType.SERVED, serving.served, reason, serving.served_message)


def _set_validated(conditions: Conditions, training: TrainingPlan) -> None:
    if training.validated:
        conditions.set(ConditionType.VALIDATED, True, Reason.VALID)
        return
    status = ConditionStatus.UNKNOWN if training.validated is None else False
    conditions.set(ConditionType.VALIDATED, status, training.reason, training.message)


def _summarise(
    conditions: Conditions, spec: FineTuneSpec, story: _Story, stop: Problem | None
) -> str:
    """Ready, Reconciling, Stalled and Degraded (kstatus), and the reason that sums them up."""
    training, serving = story.training, story.serving
    if stop is not None:
        reason: str = stop.reason
        message = f"{stop.message}. {stop.hint}" if stop.hint else stop.message
        conditions.set(ConditionType.READY, False, reason, message)
        conditions.set(ConditionType.STALLED, True, reason, message)
    elif training.planned:
        reason, message = training.reason, training.message
        conditions.set(ConditionType.READY, True, reason, message)
    elif not training.committed:
        reason, message = training.reason, training.message
        if training.warning is not None:
            message = f"{training.warning.message}. {training.warning.hint}"
        conditions.set(ConditionType.READY, False, reason, message)
        conditions.set(
            ConditionType.RECONCILING, training.reason is not Reason.SUSPENDED, reason, message
        )
    elif not story.observed.verified:
        reason, message = Reason.VERIFYING, "the committed files are being checked"
        conditions.set(ConditionType.READY, False, reason, message)
        conditions.set(ConditionType.RECONCILING, True, reason, message)
    elif serving is None:
        reason, message = Reason.TRAINED, "the adapter is stored; serving was not asked for"
        conditions.set(ConditionType.READY, True, reason, message)
    else:
        reason, message = serving.reason, serving.message
        conditions.set(ConditionType.READY, serving.ready, reason, message)
        conditions.set(ConditionType.RECONCILING, not serving.ready, reason, message)
    _set_degraded(conditions, story)
    return reason


def _set_degraded(conditions: Conditions, story: _Story) -> None:
    serving = story.serving
    if serving is None or not serving.served or serving.ready:
        return
    status = serving.status
    if status.revision != story.revision:
        conditions.set(
            ConditionType.DEGRADED,
            True,
            Reason.OLDER_REVISION,
            f"revision {status.revision} serves, {story.revision} is asked for",
        )
    elif status.loaded_replicas < status.desired_replicas:
        conditions.set(
            ConditionType.DEGRADED,
            True,
            Reason.POOL_SCALING,
            f"{status.loaded_replicas} of {status.desired_replicas} pods serve it",
        )


def _build_revisions(
    ft: FineTune, spec: FineTuneSpec, story: _Story, now: datetime
) -> list[RevisionStatus]:
    """The current revision first, then the older ones, up to the limit. What serves is kept."""
    known = {r.id: r for r in ft.status.revisions}
    entry = known.get(story.revision) or RevisionStatus(
        id=story.revision, spec_hash=story.digest, created_time=format_time(now)
    )
    commit = story.observed.commit
    if commit is not None and story.observed.verified:
        entry = entry.model_copy(
            update={
                "adapter_uri": status_uri(story.storage, commit.prefix),
                "adapter_digest": commit.digest,
                "dataset_digest": commit.provenance.dataset_sha256,
                "base_commit": commit.provenance.base_commit[:128],
                "seed": count(commit.provenance.seed),
                "final_loss": decimal(commit.metrics.final_loss, 4),
            }
        )
    rest = [r for r in ft.status.revisions if r.id != story.revision]
    serving = story.serving.status.revision if story.serving else None
    keep = rest[: spec.revision_history_limit - 1]
    dropped = [r for r in rest[len(keep) :] if r.id == serving]
    # The serving one takes the place of the last, when status can't hold one more.
    return [entry, *keep[: MAX_REVISIONS - 1 - len(dropped)], *dropped]


def tell_changes(ft: FineTune, status: FineTuneStatus) -> tuple[Event, ...]:
    """What changed between the written status and the new one, for people."""
    events: list[Event] = []
    for type_, kind in (
        (ConditionType.TRAINED, "Trained"),
        (ConditionType.STALLED, "Stalled"),
        (ConditionType.READY, "Ready"),
    ):
        before, after = find(ft.status.conditions, type_), find(status.conditions, type_)
        if after is None or after.status is not ConditionStatus.TRUE:
            continue
        if before is not None and before.status is after.status and before.reason == after.reason:
            continue
        warning = type_ is ConditionType.STALLED
        reason = after.reason if warning else kind
        events.append(
            Event("Warning" if warning else "Normal", reason, after.message or after.reason)
        )
    if events and events[-1].reason == "Ready":
        # Without serving both come at once; one says it all.
        events = [e for e in events if e.reason != "Trained"]
    known = ft.status.training.adaptations if ft.status.training else []
    told = status.training.adaptations if status.training else []
    events += [Event("Warning", "OOMAdapted", line) for line in told[len(known) :]]
    return tuple(events)
