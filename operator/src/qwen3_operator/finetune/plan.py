"""The decision about one fine-tune: training and serving planned apart, told in one status."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus
from qwen3_api.v1alpha1.meta import ConditionStatus
from qwen3_api.v1alpha1.resources import DeletionPolicy
from qwen3_operator.finetune.actions import FineTunePlan, ServingPlan, StagePlan, TrainingPlan
from qwen3_operator.finetune.assessment import Assessment
from qwen3_operator.finetune.export.plan import plan_export
from qwen3_operator.finetune.promotion.gates import asked_revision, wanted_revision
from qwen3_operator.finetune.promotion.plan import plan_serving
from qwen3_operator.finetune.recall import recall_revision, recall_serving
from qwen3_operator.finetune.status import build_status
from qwen3_operator.finetune.training.plan import plan_training
from qwen3_operator.finetune.validate import validate
from qwen3_operator.finetune.views import FineTune, Observed, ReadableFineTune, UnreadableFineTune
from qwen3_operator.resources.actions import Deletion, Event
from qwen3_operator.resources.conditions import KNOWN, Conditions, find
from qwen3_operator.resources.labels import FINALIZER
from qwen3_operator.resources.names import pool_endpoint
from qwen3_operator.resources.summary import (
    Explanation,
    Progress,
    Summary,
    recall_degraded,
    write_summary,
)
from qwen3_operator.resources.views import JobView
from qwen3_operator.serving.views import POLL_STEADY, PoolView
from qwen3_operator.settings import Settings

ARTIFACTS_RETAINED = Event(
    "Normal", "ArtifactsKept", "The artifacts stay in the bucket: deletionPolicy is Retain"
)
ARTIFACTS_IN_DOUBT = Event(
    "Warning",
    "ArtifactsKept",
    "The artifacts stay in the bucket: spec.artifacts can't be read, so policy and location are "
    "unknown. Delete the folder manually.",
)
RECHECK_SECONDS = 30.0
"""How often a problem that is mended outside the cluster (a bucket, say) is looked at again."""


def plan_finetune(
    ft: FineTune, observed: Observed, settings: Settings, now: datetime
) -> FineTunePlan:
    """What shall be true next. Guards first, in this order: going away, unreadable, invalid."""
    if ft.meta.deleting:
        return plan_deletion(ft, observed)
    if isinstance(ft, UnreadableFineTune):
        return _plan_unreadable(ft, observed, now)
    return _plan_readable(ft, observed, settings, now)


def _plan_readable(
    ft: ReadableFineTune, observed: Observed, settings: Settings, now: datetime
) -> FineTunePlan:
    """Training, export and promotion, planned apart."""
    problem = validate(ft, observed, settings)
    storage = ft.storage
    if problem is not None or storage is None:
        training = TrainingPlan(
            Reason(problem.reason) if problem else Reason.STORAGE_NOT_CONFIGURED,
            problem.message if problem else "",
            problem=problem,
            requeue_after=RECHECK_SECONDS,
        )
    else:
        training = plan_training(ft, observed, storage, settings, now)
    export = None
    if problem is None and storage is not None:
        export = plan_export(ft, observed, storage, settings)
    readable = storage is not None and observed.storage_problem is None
    serving = None
    if ft.is_served:
        serving = (
            plan_serving(ft, observed, settings, now)
            if readable
            else _recall_serving(ft, observed, settings)
        )
    promote = serving.promote if serving is not None and problem is None else None
    assessment = Assessment(
        ft.revision,
        problem,
        storage,
        training,
        serving,
        export,
        observed,
        settings,
        recall_revision(ft, observed),
    )
    status = build_status(ft, assessment, now)
    stages: list[StagePlan] = [training]
    if serving is not None:
        # With a problem the name stays where it is; the stage is only reported.
        stages.append(serving if problem is None else replace(serving, apply=()))
    if export is not None:
        stages.append(export)
    return FineTunePlan(
        status=status,
        apply=tuple(m for stage in stages for m in stage.apply),
        lifecycle=tuple(m for stage in stages for m in stage.lifecycle),
        delete=(
            *(d for stage in stages for d in stage.delete),
            *_obsolete(observed.other_jobs),
            *_forgotten(observed, status),
        ),
        finalizer=_plan_finalizer(ft),
        promote=promote,
        wake_pool=ft.pool if readable and _pool_must_look(serving, observed) else None,
        events=(
            *training.events,
            *(export.events if export else ()),
            *tell_changes(ft, status),
            *(serving.events if serving and promote else ()),
        ),
        requeue_after=min(
            (s.requeue_after for s in stages if s.requeue_after is not None), default=None
        ),
    )


def _recall_serving(
    ft: ReadableFineTune, observed: Observed, settings: Settings
) -> ServingPlan | None:
    """Serving without the pointer: the sidecars report the digest, status names its revision."""
    spec, revision = ft.spec, ft.revision
    pool = observed.pool or PoolView(name="", exists=False, desired_replicas=spec.serving.replicas)
    return recall_serving(
        ft,
        ft.alias,
        wanted_revision(spec, revision),
        pool,
        pool_endpoint(ft.meta.namespace, pool.name, settings) if pool.name else None,
        revision=revision,
    )


def _pool_must_look(serving: ServingPlan | None, observed: Observed) -> bool:
    """The pool's own reconcile puts candidates into the index and starts its pods; wake it when
    there is something to serve that isn't there yet, or a name was just moved."""
    if serving is None or (observed.commit is None and observed.rollback is None):
        return False
    return not serving.ready


def _obsolete(jobs: Sequence[JobView]) -> tuple[Deletion, ...]:
    """Unfinished Jobs of other revisions: an edit replaced them. Finished ones stay as evidence."""
    return tuple(Deletion.of_job(j) for j in jobs if not j.finished and not j.deleting)


def _forgotten(observed: Observed, status: FineTuneStatus) -> tuple[Deletion, ...]:
    """Evaluations of revisions that status doesn't remember any more. Their reports stay."""
    known = {r.id for r in status.revisions}
    return tuple(
        Deletion("Qwen3Eval", e.meta.name, e.meta.uid)
        for e in observed.other_evaluations
        if not e.meta.deleting and asked_revision(e) not in known
    )


def _plan_finalizer(ft: ReadableFineTune) -> bool | None:
    spec = ft.spec
    wanted = spec.artifacts.deletion_policy is DeletionPolicy.DELETE
    return wanted if wanted != (FINALIZER in ft.meta.finalizers) else None


def plan_deletion(ft: FineTune, observed: Observed) -> FineTunePlan:
    """Ours only with deletionPolicy Delete: stop the Jobs, wait for their pods, remove the folder,
    let go. A pod that still runs could write after the folder was emptied.

    The present spec decides: it may have been edited after the finalizer was added.
    """
    if FINALIZER not in ft.meta.finalizers:
        return FineTunePlan(status=None)
    if ft.artifacts is None:
        return FineTunePlan(status=None, finalizer=False, events=(ARTIFACTS_IN_DOUBT,))
    if ft.artifacts.deletion_policy is not DeletionPolicy.DELETE:
        return FineTunePlan(status=None, finalizer=False, events=(ARTIFACTS_RETAINED,))
    ours = (observed.job, observed.preflight_job, observed.export_job, *observed.other_jobs)
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
        events=(Event("Normal", "ArtifactsDeleted", "Deleted the artifacts from the bucket"),),
    )


def with_waiting_deletion(
    ft: FineTune, refusal: FailureStatus | None, now: datetime
) -> FineTuneStatus:
    """The status while the artifacts can't be removed.

    refusal: the store's; None: it doesn't answer.
    """
    problem = refusal or FailureStatus.of(
        Reason.STORAGE_UNAVAILABLE,
        "the object store doesn't answer",
        "Check that its endpoint is reachable from the operator's pod.",
        user=False,
        retriable=True,
    )
    problem = problem.with_changes(
        message=f"the artifacts can't be deleted: {problem.message}",
        hint=f"{problem.hint} Or set deletionPolicy to Retain to keep them.".strip(),
    )
    conditions = Conditions(ft.status.conditions, ft.meta.generation, now)
    conditions.keep(*KNOWN, ConditionType.VALIDATED, ConditionType.SERVED)
    summary = Summary(
        False,
        Reason.DELETING,
        problem.advice,
        Progress.STALLED if refusal is not None else Progress.RECONCILING,
        cause=Explanation(problem.reason, problem.advice),
    )
    write_summary(conditions, summary)
    return ft.status.model_copy(
        update={
            "observed_generation": ft.meta.generation,
            "conditions": conditions.to_list(),
            "stage": summary.stage,
            "failure": problem,
        }
    )


def _plan_unreadable(ft: UnreadableFineTune, observed: Observed, now: datetime) -> FineTunePlan:
    """The stored spec breaks a rule that is newer than it. What serves stays in service, and
    status keeps reporting it."""
    conditions = Conditions(ft.status.conditions, ft.meta.generation, now)
    conditions.keep(*KNOWN, ConditionType.SERVED)
    serving = ft.status.serving
    if serving is not None and serving.model_name is not None and observed.pool is not None:
        found = recall_serving(ft, serving.model_name, None, observed.pool, serving.endpoint)
        if found is not None:
            serving = found.status
            reason = Reason.SERVED if found.served else found.reason
            conditions.set(ConditionType.SERVED, found.served, reason, found.served_message)
    summary = Summary(False, Reason.INVALID_SPEC, ft.error, Progress.STALLED)
    write_summary(conditions, summary)
    conditions.set(ConditionType.VALIDATED, False, Reason.INVALID_SPEC, ft.error)
    status = ft.status.model_copy(
        update={
            "observed_generation": ft.meta.generation,
            "conditions": conditions.to_list(),
            "stage": summary.stage,
            "serving": serving,
            "failure": FailureStatus.of(
                Reason.INVALID_SPEC, ft.error, "Correct the field and apply the object again."
            ),
        }
    )
    return FineTunePlan(
        status=status,
        events=tell_changes(ft, status),
        requeue_after=POLL_STEADY if observed.pool is not None else None,
    )


def with_refusal(ft: FineTune, status: FineTuneStatus, why: str, now: datetime) -> FineTuneStatus:
    """The status when the API server refused a child: nothing goes on until a person acts."""
    problem = FailureStatus.of(
        Reason.APPLY_REFUSED,
        why,
        "Correct what the API server's error names: a field of spec.resources, a quota, or the "
        "operator's permissions.",
    )
    summary = Summary(
        False,
        problem.reason,
        problem.advice,
        Progress.STALLED,
        degraded=recall_degraded(status.conditions),
    )
    conditions = Conditions(ft.status.conditions, ft.meta.generation, now)
    conditions.copy(status.conditions)
    write_summary(conditions, summary)
    return status.model_copy(
        update={
            "conditions": conditions.to_list(),
            "stage": summary.stage,
            "failure": problem,
        }
    )


def tell_changes(ft: FineTune, status: FineTuneStatus) -> tuple[Event, ...]:
    """What changed between the written status and the new one, for people."""
    events: list[Event] = []
    for type_, kind in (
        (ConditionType.TRAINED, "Trained"),
        (ConditionType.EXPORTED, "Exported"),
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
    trouble, known_trouble = status.failure, ft.status.failure
    if (
        trouble is not None
        and find(status.conditions, ConditionType.STALLED) is None
        and (known_trouble is None or known_trouble.reason != trouble.reason)
    ):
        events.append(Event("Warning", trouble.reason, trouble.advice))
    known = ft.status.training.adaptations if ft.status.training else []
    told = status.training.adaptations if status.training else []
    events += [Event("Warning", "OOMAdapted", line) for line in told[len(known) :]]
    return tuple(events)
