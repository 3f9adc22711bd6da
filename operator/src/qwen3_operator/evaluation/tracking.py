"""What status says of the trackers. Pure.

Nothing here changes a verdict: the evaluator sends the results after it has committed its report,
and tells in tracking.json what became of them. That lies where a tenant may write: only suites and
models of the spec are taken over.
"""

from collections.abc import Sequence

from qwen3_api.job.evaluate import TrackingReport
from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.evaluation import EvalSpec, EvalTrackingStatus, TrackedEvaluation
from qwen3_api.v1alpha1.meta import Condition, ConditionStatus
from qwen3_operator.evaluation.target import TARGET
from qwen3_operator.resources.conditions import Conditions, find
from qwen3_operator.resources.views import JobView

MOST_EVALUATIONS = 40
DECIDED = (ConditionStatus.TRUE, ConditionStatus.FALSE)


def is_tracked(spec: EvalSpec) -> bool:
    """Whether the results go anywhere beside the bucket."""
    return spec.tracking.wandb is not None or spec.tracking.weave is not None


def awaits_tracking(spec: EvalSpec, conditions: Sequence[Condition]) -> bool:
    """Whether status doesn't say yet what became of it."""
    before = find(conditions, ConditionType.TRACKED)
    return is_tracked(spec) and (before is None or before.status not in DECIDED)


def build_tracking(spec: EvalSpec, told: TrackingReport) -> EvalTrackingStatus:
    """The addresses."""
    suites = {s.name for s in spec.suites}
    models = {TARGET, *(b.name for b in spec.baselines)}
    return EvalTrackingStatus(
        run_url=told.run_url,
        offline_run_uri=told.offline_run,
        evaluations=[
            TrackedEvaluation(suite=e.suite, model=e.model, url=e.url)
            for e in told.evaluations
            if e.suite in suites and e.model in models
        ][:MOST_EVALUATIONS],
    )


def set_tracked_condition(
    conditions: Conditions,
    before: Sequence[Condition],
    spec: EvalSpec,
    told: TrackingReport | None,
    job: JobView | None,
    *,
    done: bool,
    reason: Reason,
) -> None:
    """Tracked; absent without trackers, Unknown (with `reason`) until there are results.

    done: the report is there. What was decided once stays: tracking.json is read until then.
    """
    if not is_tracked(spec):
        return
    type_ = ConditionType.TRACKED
    known = find(before, type_)
    if told is not None:
        failures = "; ".join(told.failures)
        conditions.set(
            type_, not failures, Reason.TRACKING_FAILED if failures else Reason.TRACKED, failures
        )
    elif known is not None and known.status in DECIDED:
        conditions.set(type_, known.status, known.reason, known.message)
    elif not done:
        conditions.set(type_, ConditionStatus.UNKNOWN, reason)
    elif job is not None and not job.finished:
        conditions.set(
            type_,
            ConditionStatus.UNKNOWN,
            Reason.PENDING,
            "the results are being sent to the trackers",
        )
    else:
        conditions.set(
            type_,
            False,
            Reason.TRACKING_FAILED,
            "the Job ended before it reported the state of tracking",
        )
