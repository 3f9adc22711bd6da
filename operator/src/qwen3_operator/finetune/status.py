"""What a fine-tune's status says about one moment. Pure."""

from datetime import datetime

from qwen3_api.job import layout
from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus, RevisionStatus, TrainingStatus
from qwen3_api.v1alpha1.meta import ConditionStatus
from qwen3_api.v1alpha1.promotion import EvaluationStatus
from qwen3_api.v1alpha1.serving_spec import ServingMode
from qwen3_api.v1alpha1.tracking import WandbMode
from qwen3_operator.finetune.actions import TrainingPlan
from qwen3_operator.finetune.assessment import Assessment, summarise
from qwen3_operator.finetune.export.plan import build_export_status
from qwen3_operator.finetune.preflight.plan import build_preflight_status
from qwen3_operator.finetune.promotion.gates import (
    REFUSALS,
    build_history,
    kept_evaluation,
    set_evaluation_conditions,
)
from qwen3_operator.finetune.promotion.outcome import owned_alias
from qwen3_operator.finetune.recall import last_move
from qwen3_operator.finetune.training.status import (
    begun_in_4_bits,
    build_queue_status,
    build_training_status,
    build_usage_status,
    learnt_in_4_bits,
    status_uri,
)
from qwen3_operator.finetune.views import FineTune, ReadableFineTune, revision_folder
from qwen3_operator.resources.conditions import Conditions, format_time
from qwen3_operator.resources.names import job_name
from qwen3_operator.resources.numbers import count, decimal
from qwen3_operator.resources.summary import write_summary

MAX_REVISIONS = 20
"""What status.revisions may hold, by the CRD."""
REFUSED = {reason for reason, _ in REFUSALS.values()}


def build_status(ft: ReadableFineTune, assessment: Assessment, now: datetime) -> FineTuneStatus:
    """The whole status."""
    spec = ft.spec
    conditions = Conditions(ft.status.conditions, ft.meta.generation, now)
    stop = assessment.blocking_problem
    _set_stages(conditions, assessment)
    evaluation = _evaluation(ft, assessment)
    set_evaluation_conditions(conditions, spec, evaluation)
    summary = summarise(assessment)
    write_summary(conditions, summary)
    serving = assessment.serving.status if assessment.serving else None
    current = serving.revision if serving else None
    job = job_name(ft.meta.name, assessment.revision)
    if spec.serving.mode is not ServingMode.SHARED_BASE and assessment.recalled.stored:
        current = assessment.revision
    preflight = build_preflight_status(
        ft.status.preflight,
        assessment.revision,
        spec,
        assessment.observed.preflight,
        _uri(ft, assessment, layout.PREFLIGHT),
        assessment.settings,
        begun=begun_in_4_bits(ft.status, assessment.revision),
    )
    training = build_training_status(
        ft.status.training,
        job,
        assessment.observed,
        assessment.storage,
        planned=preflight.sizing if preflight else None,
        offline_runs=_offline_runs(ft, assessment),
    )
    return FineTuneStatus(
        observed_generation=ft.meta.generation,
        conditions=conditions.to_list(),
        stage=summary.stage,
        current_revision=current,
        candidate_revision=None if current == assessment.revision else assessment.revision,
        revisions=_build_revisions(ft, assessment, evaluation, training, now),
        preflight=preflight,
        training=training,
        usage=build_usage_status(
            ft.status.usage,
            assessment.observed,
            same_revision=ft.status.training is not None and ft.status.training.job_name == job,
            price=ft.price,
        ),
        queue=build_queue_status(spec, assessment.training),
        evaluation=evaluation,
        serving=serving,
        history=build_history(
            ft.status,
            owned_alias(assessment.observed.alias, ft.meta.uid),
            evaluation if stop is not None and stop.reason in REFUSED else None,
            now,
        ),
        failure=assessment.recorded_failure or _failure(ft, assessment, stop or assessment.warning),
    )


def _failure(
    ft: FineTune, assessment: Assessment, problem: FailureStatus | None
) -> FailureStatus | None:
    """The failure, with the place of the report that its attempt left."""
    report = assessment.observed.report
    if problem is None or report is None or report.attempt != problem.attempt:
        return problem
    log_uri = _uri(ft, assessment, layout.ATTEMPTS, report.attempt, layout.REPORT)
    return problem.with_changes(log_uri=log_uri)


def _evaluation(ft: ReadableFineTune, assessment: Assessment) -> EvaluationStatus | None:
    """Of the present revision: as it is now, or as it was told before it got its name."""
    spec = ft.spec
    if spec.evaluation is None:
        return None
    now = assessment.serving.evaluation if assessment.serving else None
    return now or kept_evaluation(ft, assessment.revision)


def _uri(ft: FineTune, assessment: Assessment, *parts: str) -> str | None:
    """Of what lies below the revision's folder."""
    if assessment.storage is None:
        return None
    folder = revision_folder(ft.meta, assessment.revision, assessment.storage)
    return status_uri(assessment.storage, folder.join(*parts).prefix)


def _offline_runs(ft: ReadableFineTune, assessment: Assessment) -> str | None:
    spec = ft.spec
    wandb = spec.tracking.wandb
    if assessment.storage is None or wandb is None or wandb.mode is not WandbMode.OFFLINE:
        return None
    return (
        revision_folder(ft.meta, assessment.revision, assessment.storage).join(layout.WANDB).prefix
    )


def _set_stages(conditions: Conditions, assessment: Assessment) -> None:
    """The positive conditions, each Unknown until its stage was reached."""
    unknown = ConditionStatus.UNKNOWN
    training, serving, observed = assessment.training, assessment.serving, assessment.observed
    if assessment.problem is not None:
        _set_known(conditions, assessment, assessment.problem)
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
    elif assessment.problem is None or not conditions.has(ConditionType.ARTIFACT_STORED):
        conditions.set(ConditionType.ARTIFACT_STORED, unknown, Reason.PENDING)
    if serving is not None:
        reason = Reason.SERVED if serving.served else serving.reason
        conditions.set(ConditionType.SERVED, serving.served, reason, serving.served_message)
    export = assessment.export
    if export is not None and export.reason is not Reason.NOT_REQUESTED:
        conditions.set(ConditionType.EXPORTED, export.done, export.reason, export.message)


def _set_known(conditions: Conditions, assessment: Assessment, problem: FailureStatus) -> None:
    """Training isn't planned with such a problem; what earlier reads found stands."""
    known = assessment.recalled
    true, unknown = ConditionStatus.TRUE, ConditionStatus.UNKNOWN
    if known.current:
        conditions.keep(
            ConditionType.ADMITTED, ConditionType.TRAINED, ConditionType.ARTIFACT_STORED
        )
    if assessment.refused and known.current and conditions.was(ConditionType.VALIDATED) is true:
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


def _build_revisions(
    ft: ReadableFineTune,
    assessment: Assessment,
    evaluation: EvaluationStatus | None,
    training: TrainingStatus | None,
    now: datetime,
) -> list[RevisionStatus]:
    """The current revision first, then the older ones, up to the limit. What serves is kept."""
    spec = ft.spec
    known = {r.id: r for r in ft.status.revisions}
    entry = known.get(assessment.revision) or RevisionStatus(
        id=assessment.revision, spec_hash=ft.digest, created_time=format_time(now)
    )
    learnt = learnt_in_4_bits(training)
    if learnt is not None:
        entry = entry.model_copy(update={"quantized": learnt})
    commit = assessment.observed.commit
    if assessment.observed.artifact_problem is not None:
        # Whoever reads the digest takes it for that of a good adapter.
        entry = entry.model_copy(update={"adapter_digest": None})
    if commit is not None and assessment.observed.verified:
        entry = entry.model_copy(
            update={
                "adapter_uri": status_uri(assessment.storage, commit.prefix),
                "adapter_digest": commit.digest,
                "dataset_digest": commit.provenance.dataset_sha256,
                "base_commit": commit.provenance.base_commit[:128],
                "seed": count(commit.provenance.seed),
                "final_loss": decimal(commit.metrics.final_loss, 4),
            }
        )
    if assessment.observed.exports:
        told = build_export_status(entry.exports, assessment.observed.exports, assessment.storage)
        entry = entry.model_copy(update={"exports": told})
    if evaluation is not None and evaluation.revision == assessment.revision:
        entry = entry.model_copy(update={"verdict": evaluation.verdict})
    rest = [r for r in ft.status.revisions if r.id != assessment.revision]
    keep = rest[: spec.revision_history_limit - 1]
    incumbents = _incumbents(ft, assessment)
    dropped = [r for r in rest[len(keep) :] if r.id in incumbents]
    # The serving one takes the place of the last, when status can't hold one more.
    return [entry, *keep[: MAX_REVISIONS - 1 - len(dropped)], *dropped]


def _incumbents(ft: FineTune, assessment: Assessment) -> set[str]:
    """The revision that answers and the one that the public name stands for, even if no pod is
    ready. While the bucket can't be read, the last recorded move names it."""
    current = owned_alias(assessment.observed.alias, ft.meta.uid)
    unread = assessment.storage is None or assessment.observed.storage_problem is not None
    found = (
        assessment.serving.status.revision if assessment.serving else None,
        current.revision if current is not None else None,
        last_move(ft.status) if unread else None,
    )
    return {revision for revision in found if revision is not None}
