"""Held-out questions against the training data: what the evaluator compares with, and what status
says of it. Pure."""

from collections.abc import Mapping, Sequence

from qwen3_api.job import layout
from qwen3_api.job.base import S3Location
from qwen3_api.job.evaluate import EvalReport
from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.evaluation import EvalSpec
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.holdout import HoldoutStatus
from qwen3_api.v1alpha1.meta import ConditionStatus
from qwen3_operator.evaluation.views import ReadableEvaluation
from qwen3_operator.finetune.views import FineTune, ReadableFineTune, revision_folder
from qwen3_operator.resources.conditions import Conditions
from qwen3_operator.resources.numbers import count
from qwen3_operator.resources.storage import StorageTarget


def find_training(
    ev: ReadableEvaluation, revision: str | None, fine_tunes: Mapping[str, FineTune]
) -> S3Location | FailureStatus | None:
    """The training digest of the revision that is asked; None if it isn't a fine-tune's, or lies
    where the evaluator can't read and nobody insists."""
    spec, adapter = ev.spec, ev.spec.target.adapter
    named = spec.target.fine_tune or (adapter.fine_tune if adapter is not None else None)
    ft = fine_tunes.get(named.name) if named is not None else None
    if not isinstance(ft, ReadableFineTune) or revision is None:
        return None
    theirs = ft.storage
    if theirs is None or _identity(theirs) != _identity(ev.storage):
        return _unreadable(spec)
    return revision_folder(ft.meta, revision, theirs).join(layout.TRAINING_DIGEST)


def _identity(storage: StorageTarget | None) -> tuple[str | None, str, str] | None:
    """Who reads what."""
    return (storage.endpoint, storage.bucket, storage.secret) if storage is not None else None


def _unreadable(spec: EvalSpec) -> FailureStatus | None:
    if spec.holdout is None or spec.holdout.max_leaked_percent is None:
        return None
    return FailureStatus.of(
        Reason.HOLDOUT_UNKNOWN,
        "holdout.maxLeakedPercent: the training digest is in the bucket of the fine-tune, which "
        "isn't the bucket of output.s3",
        "Set output.s3 to the fine-tune's spec.artifacts.s3, or omit maxLeakedPercent.",
    )


def tell_holdout(spec: EvalSpec, report: EvalReport) -> list[HoldoutStatus]:
    """By suite, in the order of the spec; numbers are bounded, a tenant's pod wrote them."""
    found = {leakage.suite: leakage for leakage in report.holdout}
    return [
        HoldoutStatus(
            suite=suite.name,
            questions=count(leakage.questions),
            leaked=count(leakage.leaked),
            training_rows=count(leakage.training_rows),
            covered_rows=count(leakage.covered_rows),
        )
        for suite in spec.suites
        if (leakage := found.get(suite.name)) is not None
    ]


def set_holdout_condition(
    conditions: Conditions, told: Sequence[HoldoutStatus], failure: FailureStatus | None
) -> None:
    """HoldoutClean; absent until questions were compared, or could not be though it was asked."""
    type_ = ConditionType.HOLDOUT_CLEAN
    if failure is not None and failure.reason == Reason.HOLDOUT_LEAKED:
        conditions.set(type_, False, Reason.HOLDOUT_LEAKED, failure.message)
    elif failure is not None and failure.reason == Reason.HOLDOUT_UNKNOWN:
        conditions.set(type_, ConditionStatus.UNKNOWN, Reason.HOLDOUT_UNKNOWN, failure.message)
    elif told:
        leaked = [h for h in told if h.leaked]
        words = [f"{h.leaked} of {h.questions} questions of suite {h.suite}" for h in leaked]
        covered = explain_coverage(told)
        if leaked:
            message = f"{', '.join(words)} are in the training data{covered}"
            conditions.set(type_, False, Reason.HOLDOUT_LEAKED, message)
        else:
            message = f"no question was found in the training data{covered}"
            conditions.set(type_, True, Reason.HOLDOUT_CLEAN, message)


def explain_coverage(told: Sequence[HoldoutStatus]) -> str:
    """How much of the training data was compared, where it wasn't all."""
    first = told[0]
    if first.covered_rows >= first.training_rows:
        return ""
    return f" (compared with the first {first.covered_rows} of {first.training_rows} rows)"
