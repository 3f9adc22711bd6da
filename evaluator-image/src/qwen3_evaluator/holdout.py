"""Before anything is asked: which questions does the target know from training?

The training rows themselves are never read: the preflight left a digest of them in the bucket
(`qwen3_api.job.holdout`).
"""

import logging
from collections.abc import Mapping

from qwen3_api.job.evaluate import EvalHoldout, EvalJob, EvalLeakage
from qwen3_api.job.holdout import TrainingDigest
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_evaluator.questions import QuestionSet
from qwen3_evaluator.store import Store

log = logging.getLogger(__name__)

_SHOWN_LINES = 20


async def check_holdout(
    job: EvalJob, sets: Mapping[str, QuestionSet], store: Store
) -> list[EvalLeakage]:
    """What of each suite is in the training data; nothing if that can't be told.

    Raises FailureError: HoldoutLeaked when it is more than the order lets pass, HoldoutUnknown
    when the order has a limit and there is no digest; the store's reasons.
    """
    if job.holdout is None:
        return []
    digest = await _read_digest(job.holdout, store)
    if digest is None:
        return []
    found = [compare(name, questions, digest) for name, questions in sets.items()]
    for leakage in found:
        log.info(
            "%d of %d questions of suite %s are in the training data (%d of its %d rows compared)",
            *(leakage.leaked, leakage.questions, leakage.suite),
            *(leakage.covered_rows, leakage.training_rows),
        )
        _check(leakage, job.holdout.max_leaked_percent)
    return found


def compare(suite: str, questions: QuestionSet, digest: TrainingDigest) -> EvalLeakage:
    """The questions of a suite against the training data."""
    # A benchmark's instructions and worked examples, which are in no training row, would hide it.
    found = [(q.line, digest.find_leak(q.row_text or q.question)) for q in questions.questions]
    leaked = [(line, how) for line, how in found if how is not None]
    return EvalLeakage(
        suite=suite,
        questions=len(found),
        leaked=len(leaked),
        by_text=sum(how == "Text" for _, how in leaked),
        by_ngrams=sum(how == "NGrams" for _, how in leaked),
        lines=[line for line, _ in leaked[:_SHOWN_LINES]],
        training_rows=digest.header.rows,
        covered_rows=digest.header.covered_rows,
    )


def _check(leakage: EvalLeakage, limit: int | None) -> None:
    if limit is None or 100 * leakage.leaked <= limit * leakage.questions:
        return
    lines = ", ".join(map(str, leakage.lines[:5])) + (", …" if leakage.leaked > 5 else "")
    raise FailureError(
        Reason.HOLDOUT_LEAKED,
        f"{leakage.leaked} of {leakage.questions} questions of suite {leakage.suite} are in the "
        f"training data (line {lines}); {limit} % are allowed",
        hint="Take them out of the questions or out of the training data, or raise "
        "holdout.maxLeakedPercent.",
    )


async def _read_digest(holdout: EvalHoldout, store: Store) -> TrainingDigest | None:
    """None, with a word in the log, if there is none and none is needed."""
    content = await store.get(holdout.training)
    try:
        if content is not None:
            return TrainingDigest.parse(content)
        problem = f"there is no training digest at {holdout.training.uri}"
    except ValueError as error:
        problem = f"{holdout.training.uri} is no training digest: {str(error)[:200]}"
    if holdout.max_leaked_percent is not None:
        raise FailureError(
            Reason.HOLDOUT_UNKNOWN,
            problem,
            hint="A revision that an earlier release trained has none. Train it again, or leave "
            "holdout.maxLeakedPercent out.",
        )
    log.warning("questions are not compared with training data: %s", problem)
    return None
