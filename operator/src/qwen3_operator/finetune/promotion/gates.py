"""May this revision have the public name? Rollback, force, evaluation, approval: in this order.

rollbackTo ──► force ──► evaluation ──► approval ──► promoted
                             │
                             └─ Failed, Inconclusive, Error: refused, the incumbent serves on
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from qwen3_api.serving.pool import CurrentAlias
from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.evaluation import EvalStatus, Verdict
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus
from qwen3_api.v1alpha1.meta import ConditionStatus
from qwen3_api.v1alpha1.promotion import (
    BASE,
    INCUMBENT,
    EvaluationStatus,
    HistoryEntry,
    Move,
    OnFailure,
    Strategy,
)
from qwen3_operator.evaluation.views import Evaluation, UnreadableEvaluation
from qwen3_operator.finetune.promotion.evaluation import (
    build_evaluation,
    evaluation_name,
    resolve_evaluation,
)
from qwen3_operator.finetune.views import FineTune, ReadableFineTune
from qwen3_operator.resources.actions import Manifest
from qwen3_operator.resources.conditions import Conditions, find, format_time

PASSING = (Verdict.PASSED, Verdict.COMPLETED)
HISTORY = 50
REFUSALS = {
    Verdict.FAILED: (
        Reason.GATE_FAILED,
        "Change the training inputs for a new revision, or spec.evaluation.gates; "
        "spec.promotion.force promotes it anyway, and is recorded.",
    ),
    Verdict.INCONCLUSIVE: (
        Reason.GATE_INCONCLUSIVE,
        "Add questions to the suite (status.gates of the Qwen3Eval shows how many are needed), "
        "or force the promotion with spec.promotion.force.",
    ),
    Verdict.ERROR: (
        Reason.EVALUATION_FAILED,
        "Fix the reported cause, then delete the Qwen3Eval to run it again.",
    ),
}


@dataclass(frozen=True)
class Admission:
    """Whether a loaded candidate may have the name."""

    reason: Reason
    message: str
    move: Move | None = None
    """Set: it may, as this."""
    problem: FailureStatus | None = None
    """Set: it may not, until somebody changes something."""
    by_person: bool = False
    """It waits for an approval."""
    evaluation: EvaluationStatus | None = None
    apply: tuple[Manifest, ...] = ()
    """The evaluation to start, once the candidate is loaded."""


def wanted_revision(spec: FineTuneSpec, revision: str) -> str:
    """The revision that shall have the name in the end."""
    return spec.promotion.rollback_to or revision


def expected_evaluation(ft: ReadableFineTune, incumbent: str | None) -> str | None:
    """Name of the Qwen3Eval that decides about a revision; None if nothing is asked."""
    spec, revision = ft.spec, ft.revision
    if spec.evaluation is None:
        return None
    wanted = resolve_evaluation(ft.meta, spec, spec.evaluation, revision, incumbent)
    return evaluation_name(ft.meta, wanted, revision)


def plan_admission(
    ft: ReadableFineTune, incumbent: str | None, found: Evaluation | None
) -> Admission:
    """Decide about the revision that the spec asks for.

    incumbent: the revision that has the name now; it isn't `revision`.
    found: the Qwen3Eval of `expected_evaluation`, if it is there and the fine-tune's own.
    """
    spec, revision = ft.spec, ft.revision
    promotion = spec.promotion
    if promotion.rollback_to is not None:
        return Admission(
            Reason.PROMOTING,
            f"spec.promotion.rollbackTo is {promotion.rollback_to}",
            Move.ROLLED_BACK,
        )
    status = _evaluation_status(ft, incumbent, found)
    if promotion.force is not None and promotion.force.revision == revision:
        return Admission(Reason.PROMOTING, promotion.force.reason, Move.FORCED, evaluation=status)
    if spec.evaluation is not None:
        waiting = _judge(ft, incumbent, found, status)
        if waiting is not None:
            return waiting
    if promotion.strategy is Strategy.MANUAL and promotion.approved_revision != revision:
        return Admission(
            Reason.AWAITING_APPROVAL,
            f"revision {revision} is ready for promotion; approve it with "
            f"spec.promotion.approvedRevision: {revision}",
            by_person=True,
            evaluation=status,
        )
    why = f"evaluation {status.eval_name}: {status.verdict}" if status else ""
    return Admission(Reason.PROMOTING, why, Move.PROMOTED, evaluation=status)


def _judge(
    ft: ReadableFineTune,
    incumbent: str | None,
    found: Evaluation | None,
    status: EvaluationStatus | None,
) -> Admission | None:
    """What the evaluation holds up; None when it lets the revision pass."""
    spec, revision = ft.spec, ft.revision
    if spec.evaluation is None:
        return None
    if found is None:
        wanted = resolve_evaluation(ft.meta, spec, spec.evaluation, revision, incumbent)
        manifest = build_evaluation(ft.meta, wanted, revision)
        return Admission(
            Reason.EVALUATING,
            f"evaluation {manifest['metadata']['name']} was created",
            evaluation=status,
            apply=(manifest,),
        )
    verdict = found.status.verdict
    if verdict is None:
        ready = find(found.status.conditions, ConditionType.READY)
        told = ready.message if ready is not None else "it is starting"
        return Admission(
            Reason.EVALUATING, f"evaluation {found.meta.name}: {told}", evaluation=status
        )
    if verdict in PASSING:
        return None
    reason, hint = REFUSALS[verdict]
    message = f"revision {revision} isn't promoted: {_why(found.status)} ({found.meta.name})"
    return Admission(
        reason,
        message,
        problem=FailureStatus.of(reason, message, hint, user=verdict is not Verdict.ERROR),
        evaluation=status,
    )


def _why(status: EvalStatus) -> str:
    """The gates that did not pass, in their own words."""
    told = [f"{g.name}: {g.message}" for g in status.gates if g.verdict != Verdict.PASSED]
    if told:
        return "; ".join(told)[:700]
    if status.failure is not None:
        return f"{status.failure.reason}: {status.failure.message}"[:700]
    return f"verdict {status.verdict}"


def asked_revision(evaluation: Evaluation) -> str | None:
    """The revision that an evaluation asks."""
    if isinstance(evaluation, UnreadableEvaluation):
        return None
    target = evaluation.spec.target.fine_tune
    return target.revision if target is not None else None


def is_unloaded(admission: Admission, spec: FineTuneSpec, rejection: FailureStatus | None) -> bool:
    """A refused candidate gives its place on the pool back, unless it shall be held.

    rejection: of a canary that was taken back; force and rollback don't care about it.
    """
    rejected = admission.move is Move.PROMOTED and rejection is not None
    refused = admission.problem is not None or rejected
    return refused and spec.promotion.on_failure is OnFailure.KEEP_INCUMBENT


def _evaluation_status(
    ft: ReadableFineTune, incumbent: str | None, found: Evaluation | None
) -> EvaluationStatus | None:
    revision = ft.revision
    name = expected_evaluation(ft, incumbent)
    if name is None:
        return None
    if found is None:
        return EvaluationStatus(eval_name=name, revision=revision)
    status = found.status
    return EvaluationStatus(
        eval_name=name,
        revision=revision,
        verdict=status.verdict,
        score=status.score,
        baseline_score=_score_of(status, BASE),
        incumbent_score=_score_of(status, INCUMBENT),
        leaked_questions=sum(h.leaked for h in status.holdout) if status.holdout else None,
        message="" if status.verdict in (None, *PASSING) else _why(status),
        report_uri=status.report_uri,
    )


def _score_of(status: EvalStatus, baseline: str) -> str | None:
    """The baseline's own value of the metric that is the score: the first result's."""
    if not status.results:
        return None
    first = status.results[0]
    return next(
        (
            r.baseline
            for r in status.results
            if (r.suite, r.metric, r.baseline_name) == (first.suite, first.metric, baseline)
        ),
        None,
    )


def kept_evaluation(ft: FineTune, revision: str) -> EvaluationStatus | None:
    """What was told about the revision that has the name by now."""
    told = ft.status.evaluation
    return told if told is not None and told.revision == revision else None


def set_evaluation_conditions(
    conditions: Conditions, spec: FineTuneSpec, told: EvaluationStatus | None
) -> None:
    """Evaluated and GatePassed; absent where nothing was asked for."""
    if spec.evaluation is None:
        return
    verdict = told.verdict if told is not None else None
    unknown = ConditionStatus.UNKNOWN
    message = told.message if told is not None else ""
    if verdict is None:
        reason = Reason.EVALUATING if told is not None else Reason.PENDING
        conditions.set(ConditionType.EVALUATED, unknown, reason)
    elif verdict == Verdict.ERROR:
        conditions.set(ConditionType.EVALUATED, False, Reason.EVALUATION_FAILED, message)
    else:
        conditions.set(ConditionType.EVALUATED, True, Reason.COMPLETED)
    if not spec.evaluation.gates:
        return
    if verdict in PASSING:
        conditions.set(ConditionType.GATE_PASSED, True, Reason.GATES_PASSED)
    elif verdict in (Verdict.FAILED, Verdict.INCONCLUSIVE):
        conditions.set(ConditionType.GATE_PASSED, False, REFUSALS[Verdict(verdict)][0], message)
    else:
        conditions.set(ConditionType.GATE_PASSED, unknown, Reason.PENDING)


def build_history(
    before: FineTuneStatus,
    current: CurrentAlias | None,
    refused: EvaluationStatus | None,
    now: datetime,
) -> list[HistoryEntry]:
    """Moves and refusals, newest first. Moves are read off the pointer in the bucket, so that one
    whose status was never written is told by the next look.

    refused: the evaluation that holds the candidate up.
    """
    history: Sequence[HistoryEntry] = before.history
    added: list[HistoryEntry] = []
    if current is not None and not any(
        (e.time, e.revision) == (current.promoted, current.revision) and e.action != Move.REFUSED
        for e in history
    ):
        added.append(
            HistoryEntry(
                time=current.promoted,
                action=Move(current.move),
                revision=current.revision,
                previous_revision=current.previous_revision,
                eval_name=current.eval_name,
                message=current.message,
            )
        )
    rejection = current.rejection if current is not None else None
    if rejection is not None and not any(
        (e.time, e.action) == (rejection.rejected, Move.REFUSED) for e in history
    ):
        added.append(
            HistoryEntry(
                time=rejection.rejected,
                action=Move.REFUSED,
                revision=rejection.revision,
                previous_revision=current.revision if current else None,
                message=rejection.message,
            )
        )
    if refused is not None and not any(
        e.action == Move.REFUSED and e.eval_name == refused.eval_name for e in history
    ):
        added.append(
            HistoryEntry(
                time=format_time(now),
                action=Move.REFUSED,
                revision=refused.revision,
                previous_revision=current.revision if current else None,
                eval_name=refused.eval_name,
                message=refused.message,
            )
        )
    added.sort(key=lambda e: e.time, reverse=True)
    return [*added, *history][:HISTORY]
