"""The second pass: what the judges are asked, once the answers are there. Pure.

A judgement is about one answer by itself, or about the target's and a baseline's answer to the
same question with the same seed. Its opinions are kept in the sample of
the answer, for a pair in the target's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qwen3_api.job.evaluate import EvalJob, EvalSample, JudgeOpinion, JudgeUsage
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_evaluator.judge import count_requests, is_judged_alone, is_judged_in_pairs
from qwen3_evaluator.metrics.judge_score import with_judge_score
from qwen3_evaluator.questions import Question, QuestionSet
from qwen3_evaluator.report import SampleKey, Unit


@dataclass(frozen=True)
class Judgement:
    """One thing to ask a suite's jury."""

    key: SampleKey
    """Of the sample that keeps the opinions."""
    question: Question
    baseline: str | None
    """Whose answer it is compared with; None: the answer by itself."""

    @property
    def other(self) -> SampleKey:
        """Key of the baseline's sample."""
        assert self.baseline is not None  # noqa: S101  # only pairs have one
        return self.key._replace(model=self.baseline)

    def is_done(self, samples: Mapping[SampleKey, EvalSample]) -> bool:
        """Whether the sample has the opinions already."""
        sample = samples.get(self.key)
        return sample is not None and any(o.baseline == self.baseline for o in sample.opinions)


def plan_judgements(job: EvalJob, units: Sequence[Unit]) -> list[Judgement]:
    """Everything that the juries are asked, in the order of the answers."""
    judgements = []
    for unit in units:
        if is_judged_alone(unit.suite):
            judgements.append(Judgement(unit.key, unit.question, None))
        if is_judged_in_pairs(unit.suite) and unit.endpoint is job.target:
            judgements += [Judgement(unit.key, unit.question, b.name) for b in job.baselines]
    return judgements


def check_judges(job: EvalJob, sets: Mapping[str, QuestionSet]) -> None:
    """Raises FailureError: a suite's judges would be asked more than they may be."""
    for suite in job.suites:
        needed = count_requests(suite, len(sets[suite.name].questions), len(job.baselines))
        if suite.judge is not None and needed > suite.judge.max_requests:
            raise FailureError(
                Reason.INVALID_SPEC,
                f"suite {suite.name} may take {needed} requests to its judges, more than "
                f"judge.maxRequests, which is {suite.judge.max_requests}; nothing was asked",
                hint="Raise judge.maxRequests, or ask fewer questions (questions.limit, "
                "generation.samples).",
            )


def with_opinions(sample: EvalSample, opinions: Sequence[JudgeOpinion]) -> EvalSample:
    """The sample with more opinions; those of the answer by itself make its score."""
    return with_judge_score(sample.model_copy(update={"opinions": [*sample.opinions, *opinions]}))


def sum_usage(usages: Sequence[JudgeUsage]) -> JudgeUsage:
    """What several juries, or attempts, cost together."""
    return JudgeUsage(
        **{name: sum(getattr(usage, name) for usage in usages) for name in JudgeUsage.model_fields}
    )
