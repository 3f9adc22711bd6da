"""The metrics of evaluations, an entry each: the only place where their facts are declared.

The API's enum and rules, the reference page, the operator's status and the evaluator (gates,
report, trackers) read the entry. How a value is computed is the evaluator's
(`qwen3_evaluator.metrics`, a module a metric).
"""

from dataclasses import dataclass
from enum import StrEnum


class ScoredBy(StrEnum):
    """Source of the numbers."""

    ANSWER = "the answer's text"
    LOG_PROBABILITIES = "the server's log-probabilities"
    JUDGES = "judges"
    EVAL_SCOPE = "EvalScope"
    WEAVE = "Weave"


class Unit(StrEnum):
    """Unit of a value."""

    SHARE = "0 to 1"
    NATS = "nats per token of the expected answer"
    WINS = "share of pairs won, 0.5 is a tie"


class Direction(StrEnum):
    """The better of two values."""

    HIGHER = "higher"
    LOWER = "lower"


class Aggregation(StrEnum):
    """The way from samples to the value of a suite."""

    MEAN = "mean over questions, of the mean over samples"
    WEIGHTED_BY_LENGTH = "sum of losses over sum of tokens"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Properties of a metric; the defaults are those of a plain score."""

    scored_by: ScoredBy = ScoredBy.ANSWER
    needs_answer: bool = True
    """Whether the model has to generate an answer for it."""
    per_baseline: bool = False
    """A value per baseline: the metric is a comparison by itself."""
    unit: Unit = Unit.SHARE
    better: Direction = Direction.HIGHER
    aggregation: Aggregation = Aggregation.MEAN
    requires: str | None = None
    """Field of `questions` that goes with it, and with it only, in CRD spelling."""
    needs_pattern: bool = False
    """Each row has a field `pattern`."""

    @property
    def lower_is_better(self) -> bool:
        """Whether an improvement is a fall."""
        return self.better is Direction.LOWER

    @property
    def scores_one_answer(self) -> bool:
        """Whether a generated answer has a score by itself, without another model's."""
        return self.needs_answer and not self.per_baseline


class Metric(StrEnum):
    """A metric; docs/reference/metrics.md has a row for each."""

    facts: Facts

    def __new__(cls, name: str, facts: Facts = Facts()) -> "Metric":  # frozen
        """A member: its name in the API, and what is true of it."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.facts = facts
        return member

    EXACT_MATCH = "ExactMatch"
    """The trimmed answer equals the expected one."""
    F1 = "F1"
    """Harmonic mean of precision and recall over words (SQuAD); over characters in Chinese."""
    BLEU = "BLEU"
    """Sentence BLEU with effective order and exponential smoothing (sacrebleu), over 100."""
    ROUGE_L = "RougeL"
    """F-measure of the longest common subsequence of words; over characters in Chinese."""
    REGEX_MATCH = "RegexMatch", Facts(needs_pattern=True)
    """The row's pattern is found in the answer."""
    JSON_VALID = "JSONValid", Facts(requires="jsonSchema")
    """The answer is JSON that conforms to questions.jsonSchema."""
    ASSISTANT_LOSS = (
        "AssistantLoss",
        Facts(
            scored_by=ScoredBy.LOG_PROBABILITIES,
            needs_answer=False,
            unit=Unit.NATS,
            better=Direction.LOWER,
            aggregation=Aggregation.WEIGHTED_BY_LENGTH,
        ),
    )
    """Mean negative log-likelihood per token of the expected answer."""
    JUDGE_SCORE = "JudgeScore", Facts(scored_by=ScoredBy.JUDGES, requires="judge")
    """Score of the answer by the judges and the rubric: 0, 0.25, 0.5, 0.75 or 1."""
    JUDGE_WIN = (
        "JudgeWin",
        Facts(scored_by=ScoredBy.JUDGES, per_baseline=True, unit=Unit.WINS, requires="judge"),
    )
    """The judges' preference against each baseline: 1, 0.5 for a tie, 0."""
    ACCURACY = "Accuracy", Facts(scored_by=ScoredBy.EVAL_SCOPE)
    """For suites of type EvalScope: the answer is correct by the benchmark's rules."""
    VALID_JSON_SCORER = "ValidJSONScorer", Facts(scored_by=ScoredBy.WEAVE)
    """For questions.weave: the answer is JSON."""
    VALID_XML_SCORER = "ValidXMLScorer", Facts(scored_by=ScoredBy.WEAVE)
    """For questions.weave: the answer is well-formed XML."""
    PYDANTIC_SCORER = "PydanticScorer", Facts(scored_by=ScoredBy.WEAVE)
    """For questions.weave: the answer is JSON that a pydantic model of the fields accepts."""
    STRING_MATCH_SCORER = "StringMatchScorer", Facts(scored_by=ScoredBy.WEAVE)
    """For questions.weave: the answer is a substring of the expected one, ignoring case."""


def _scored_by(*sources: ScoredBy) -> tuple[Metric, ...]:
    return tuple(metric for metric in Metric if metric.facts.scored_by in sources)


OF_QUESTIONS = _scored_by(ScoredBy.ANSWER, ScoredBy.LOG_PROBABILITIES, ScoredBy.JUDGES)
"""Those of `questions.metrics`."""
OF_WEAVE = _scored_by(ScoredBy.WEAVE)
"""Those of `questions.weave.scorers`, classes of weave.scorers."""
OF_EVAL_SCOPE = _scored_by(ScoredBy.EVAL_SCOPE)
"""Those of a suite of type EvalScope."""
PER_BASELINE = tuple(metric for metric in Metric if metric.facts.per_baseline)
"""Those that compare the target with each baseline."""


def requiring(field: str) -> tuple[Metric, ...]:
    """The metrics that a field of `questions` goes with."""
    return tuple(metric for metric in Metric if metric.facts.requires == field)


def spell(metrics: tuple[Metric, ...], word: str = "and") -> str:
    """Their names as a list in a sentence."""
    *most, last = metrics
    return f"{', '.join(most)} {word} {last}" if most else str(last)
