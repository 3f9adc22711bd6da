"""What a fine-tune's status says about one moment. Pure."""

from dataclasses import dataclass
from datetime import datetime

from qwen3_api.job import layout
from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus, RevisionStatus, TrainingStatus
from qwen3_api.v1alpha1.meta import ConditionStatus
from qwen3_api.v1alpha1.promotion import EvaluationStatus
from qwen3_api.v1alpha1.serving_spec import ServingMode
from qwen3_api.v1alpha1.tracking import WandbMode
from qwen3_operator.finetune.actions import ExportPlan, ServingPlan, TrainingPlan
from qwen3_operator.finetune.export.plan import build_export_status
from qwen3_operator.finetune.preflight.plan import build_preflight_status
from qwen3_operator.finetune.promotion.gates import (
    REFUSALS,
    build_history,
    kept_evaluation,
    set_evaluation_conditions,
)
from qwen3_operator.finetune.promotion.outcome import owned_alias
from qwen3_operator.finetune.recall import Recalled, last_move
from qwen3_operator.finetune.training.status import (
    begun_in_4_bits,
    build_queue_status,
    build_training_status,
    build_usage_status,
    learnt_in_4_bits,
    status_uri,
)
from qwen3_operator.finetune.views import FineTune, Observed, ReadableFineTune, revision_folder
from qwen3_operator.resources.conditions import Conditions, format_time
from qwen3_operator.resources.diagnosis import build_failure, problem_of
from qwen3_operator.resources.names import job_name
from qwen3_operator.resources.numbers import count, decimal
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import Problem
from qwen3_operator.settings import Settings

MAX_REVISIONS = 20
"""What status.revisions may hold, by the CRD."""
REFUSED = {reason for reason, _ in REFUSALS.values()}


@dataclass(frozen=True)
class Story:
    """Everything that was found and decided about one fine-tune."""

    revision: str
    problem: Problem | None
    storage: StorageTarget | None
    training: TrainingPlan
    serving: ServingPlan | None
    export: ExportPlan | None
    observed: Observed
    settings: Settings
    recalled: Recalled

    @property
    def refused(self) -> bool:
        """The store refuses the operator, and that is the only problem."""
        return self.problem is not None and self.problem == self.observed.storage_problem

    @property
    def settled(self) -> bool:
        """The store refuses, and nothing is left to be done: earlier reads found every result of
        this spec, and the sidecars confirm what serves."""
        known = self.recalled
        return (
            self.refused
            and self.serving is not None
            and self.serving.ready
            and known.stored
            and known.exported is not False
            and known.failure is None
        )

    @property
    def recorded_failure(self) -> FailureStatus | None:
        """The failure of a run that status recorded before the bucket became unreadable."""
        unread = self.refused or self.storage is None
        return self.recalled.failure if unread else None


def build_status(ft: ReadableFineTune, story: Story, now: datetime) -> FineTuneStatus:
    """The whole status."""
    spec = ft.spec
    conditions = Conditions(ft.status.conditions, ft.meta.generation, now)
    stop = _blocking_problem(story)
    _set_stages(conditions, story)
    evaluation = _evaluation(ft, story)
    set_evaluation_conditions(conditions, spec, evaluation)
    reason = _summarise(conditions, spec, story, stop)
    serving = story.serving.status if story.serving else None
    current = serving.revision if serving else None
    job = job_name(ft.meta.name, story.revision)
    if spec.serving.mode is not ServingMode.SHARED_BASE and story.recalled.stored:
        current = story.revision
    preflight = build_preflight_status(
        ft.status.preflight,
        story.revision,
        spec,
        story.observed.preflight,
        _uri(ft, story, layout.PREFLIGHT),
        story.settings,
        begun=begun_in_4_bits(ft.status, story.revision),
    )
    training = build_training_status(
        ft.status.training,
        job,
        story.observed,
        story.storage,
        planned=preflight.sizing if preflight else None,
        offline_runs=_offline_runs(ft, story),
    )
    return FineTuneStatus(
        observed_generation=ft.meta.generation,
        conditions=conditions.to_list(),
        stage=str(reason),
        current_revision=current,
        candidate_revision=None if current == story.revision else story.revision,
        revisions=_build_revisions(ft, story, evaluation, training, now),
        preflight=preflight,
        training=training,
        usage=build_usage_status(
            ft.status.usage,
            story.observed,
            same_revision=ft.status.training is not None and ft.status.training.job_name == job,
            price=ft.price,
        ),
        queue=build_queue_status(spec, story.training),
        evaluation=evaluation,
        serving=serving,
        history=build_history(
            ft.status,
            owned_alias(story.observed.alias, ft.meta.uid),
            evaluation if stop is not None and stop.reason in REFUSED else None,
            now,
        ),
        failure=story.recorded_failure or _failure(ft, story, stop or _warning(story)),
    )


def _failure(ft: FineTune, story: Story, problem: Problem | None) -> FailureStatus | None:
    if problem is None:
        return None
    log_uri = None
    if problem.reported and problem.attempt is not None:
        log_uri = _uri(ft, story, layout.ATTEMPTS, problem.attempt, layout.REPORT)
    return build_failure(problem, log_uri)


def _warning(story: Story) -> Problem | None:
    """A problem that stops nothing: a pod can't start for now, or the store refuses."""
    if story.settled:
        return story.problem
    return story.training.warning or (story.export.warning if story.export else None)


def _evaluation(ft: ReadableFineTune, story: Story) -> EvaluationStatus | None:
    """Of the present revision: as it is now, or as it was told before it got its name."""
    spec = ft.spec
    if spec.evaluation is None:
        return None
    now = story.serving.evaluation if story.serving else None
    return now or kept_evaluation(ft, story.revision)


def _uri(ft: FineTune, story: Story, *parts: str) -> str | None:
    """Of what lies below the revision's folder."""
    if story.storage is None:
        return None
    folder = revision_folder(ft.meta, story.revision, story.storage)
    return status_uri(story.storage, folder.join(*parts).prefix)


def _offline_runs(ft: ReadableFineTune, story: Story) -> str | None:
    spec = ft.spec
    wandb = spec.tracking.wandb
    if story.storage is None or wandb is None or wandb.mode is not WandbMode.OFFLINE:
        return None
    return revision_folder(ft.meta, story.revision, story.storage).join(layout.WANDB).prefix


def _blocking_problem(story: Story) -> Problem | None:
    if story.settled:
        return None
    if story.recorded_failure is not None:
        return problem_of(story.recorded_failure)
    if story.problem is not None:
        return story.problem
    if story.training.problem is not None:
        return story.training.problem
    if story.serving is not None and story.serving.problem is not None:
        return story.serving.problem
    return story.export.problem if story.export else None


def _set_stages(conditions: Conditions, story: Story) -> None:
    """The positive conditions, each Unknown until its stage was reached."""
    unknown = ConditionStatus.UNKNOWN
    training, serving, observed = story.training, story.serving, story.observed
    if story.problem is not None:
        _set_known(conditions, story, story.problem)
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
    elif story.problem is None or not conditions.has(ConditionType.ARTIFACT_STORED):
        conditions.set(ConditionType.ARTIFACT_STORED, unknown, Reason.PENDING)
    if serving is not None:
        reason = Reason.SERVED if serving.served else serving.reason
        conditions.set(ConditionType.SERVED, serving.served, reason, serving.served_message)
    export = story.export
    if export is not None and export.reason is not Reason.NOT_REQUESTED:
        conditions.set(ConditionType.EXPORTED, export.done, export.reason, export.message)


def _set_known(conditions: Conditions, story: Story, problem: Problem) -> None:
    """Training isn't planned with such a problem; what earlier reads found stands."""
    known = story.recalled
    true, unknown = ConditionStatus.TRUE, ConditionStatus.UNKNOWN
    if known.current:
        conditions.keep(
            ConditionType.ADMITTED, ConditionType.TRAINED, ConditionType.ARTIFACT_STORED
        )
    if story.refused and known.current and conditions.was(ConditionType.VALIDATED) is true:
        conditions.keep(ConditionType.VALIDATED)
    else:
        conditions.set(ConditionType.VALIDATED, False, problem.reason, problem.message)
    if not known.committed:
        conditions.set(ConditionType.TRAINED, unknown, Reason.PENDING)
    elif not known.current or conditions.was(ConditionType.TRAINED) is not true:
        conditions.set(ConditionType.TRAINED, True, Reason.COMMITTED)
    if known.stored and not known.current:
        conditions.set(ConditionType.ARTIFACT_STORED, True, Reason.VERIFIED)
    exported = conditions.was(ConditionType.EXPORTED)
    if known.exported is None:
        return
    if known.current and (exported is true) is known.exported:
        conditions.keep(ConditionType.EXPORTED)
    elif known.exported:
        conditions.set(ConditionType.EXPORTED, True, Reason.EXPORTED)
    else:
        conditions.set(ConditionType.EXPORTED, unknown, Reason.PENDING)


def _set_validated(conditions: Conditions, training: TrainingPlan) -> None:
    if training.validated:
        conditions.set(ConditionType.VALIDATED, True, Reason.VALID)
        return
    status = ConditionStatus.UNKNOWN if training.validated is None else False
    conditions.set(ConditionType.VALIDATED, status, training.reason, training.message)


def _summarise(
    conditions: Conditions, spec: FineTuneSpec, story: Story, stop: Problem | None
) -> str:
    """Ready, Reconciling, Stalled and Degraded (kstatus), and the reason that sums them up."""
    training, serving = story.training, story.serving
    if stop is not None:
        reason: str = stop.reason
        message = stop.told
        conditions.set(ConditionType.READY, False, reason, message)
        conditions.set(ConditionType.STALLED, True, reason, message)
    elif story.settled:
        return _set_settled(conditions, story)
    elif training.planned:
        reason, message = training.reason, training.message
        conditions.set(ConditionType.READY, True, reason, message)
    elif not training.committed:
        reason, message = training.reason, training.message
        if training.warning is not None:
            message = training.warning.told
        conditions.set(ConditionType.READY, False, reason, message)
        conditions.set(
            ConditionType.RECONCILING, training.reason is not Reason.SUSPENDED, reason, message
        )
    elif not story.observed.verified:
        reason, message = Reason.VERIFYING, "the committed files are being checked"
        conditions.set(ConditionType.READY, False, reason, message)
        conditions.set(ConditionType.RECONCILING, True, reason, message)
    elif _is_exporting(story):
        reason, message = _tell_export(story)
        conditions.set(ConditionType.READY, False, reason, message)
        conditions.set(ConditionType.RECONCILING, True, reason, message)
    elif serving is None:
        reason, message = Reason.TRAINED, "the adapter is stored; serving was not asked for"
        conditions.set(ConditionType.READY, True, reason, message)
    else:
        reason, message = serving.reason, serving.message
        conditions.set(ConditionType.READY, serving.ready, reason, message)
        busy = not serving.ready and not serving.by_person
        conditions.set(ConditionType.RECONCILING, busy, reason, message)
    _set_degraded(conditions, story)
    return reason


def _set_settled(conditions: Conditions, story: Story) -> str:
    """Ready, as the sidecars confirm, and Degraded, because the store refuses."""
    problem, serving = story.problem, story.serving
    assert problem is not None and serving is not None  # noqa: S101, PT018  (by `settled`)
    message = f"{serving.message}; {problem.message}"
    conditions.set(ConditionType.READY, True, serving.reason, message)
    conditions.set(ConditionType.DEGRADED, True, problem.reason, problem.told)
    return problem.reason


def _is_exporting(story: Story) -> bool:
    """Only the export is missing: whatever else moves is told first."""
    waits = story.serving is not None and not story.serving.ready
    return story.export is not None and not story.export.done and not waits


def _tell_export(story: Story) -> tuple[str, str]:
    export = story.export
    assert export is not None  # noqa: S101  (the caller looked)
    if export.warning is not None:
        return export.reason, export.warning.told
    return export.reason, export.message


def _set_degraded(conditions: Conditions, story: Story) -> None:
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
    ft: ReadableFineTune,
    story: Story,
    evaluation: EvaluationStatus | None,
    training: TrainingStatus | None,
    now: datetime,
) -> list[RevisionStatus]:
    """The current revision first, then the older ones, up to the limit. What serves is kept."""
    spec = ft.spec
    known = {r.id: r for r in ft.status.revisions}
    entry = known.get(story.revision) or RevisionStatus(
        id=story.revision, spec_hash=ft.digest, created_time=format_time(now)
    )
    learnt = learnt_in_4_bits(training)
    if learnt is not None:
        entry = entry.model_copy(update={"quantized": learnt})
    commit = story.observed.commit
    if story.observed.artifact_problem is not None:
        # Whoever reads the digest takes it for that of a good adapter.
        entry = entry.model_copy(update={"adapter_digest": None})
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
    if story.observed.exports:
        told = build_export_status(entry.exports, story.observed.exports, story.storage)
        entry = entry.model_copy(update={"exports": told})
    if evaluation is not None and evaluation.revision == story.revision:
        entry = entry.model_copy(update={"verdict": evaluation.verdict})
    rest = [r for r in ft.status.revisions if r.id != story.revision]
    keep = rest[: spec.revision_history_limit - 1]
    incumbents = _incumbents(ft, story)
    dropped = [r for r in rest[len(keep) :] if r.id in incumbents]
    # The serving one takes the place of the last, when status can't hold one more.
    return [entry, *keep[: MAX_REVISIONS - 1 - len(dropped)], *dropped]


def _incumbents(ft: FineTune, story: Story) -> set[str]:
    """The revision that answers and the one that the public name stands for, even if no pod is
    ready. While the bucket can't be read, the last recorded move names it."""
    current = owned_alias(story.observed.alias, ft.meta.uid)
    unread = story.storage is None or story.observed.storage_problem is not None
    found = (
        story.serving.status.revision if story.serving else None,
        current.revision if current is not None else None,
        last_move(ft.status) if unread else None,
    )
    return {revision for revision in found if revision is not None}
