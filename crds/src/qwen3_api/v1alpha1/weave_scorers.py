"""Weave's scorers as metrics: supported classes of `weave.scorers`, and why others aren't."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from qwen3_api.metrics import OF_WEAVE
from qwen3_api.v1alpha1.meta import KubeModel, ListMap, ListSet, Rule

SCORERS = tuple(metric.value for metric in OF_WEAVE)
"""Classes that need only Weave and score each answer."""
ASK_A_MODEL = (
    "ContextEntityRecallScorer",
    "ContextRelevancyScorer",
    "EmbeddingSimilarityScorer",
    "HallucinationFreeScorer",
    "LLMAsAJudgeScorer",
    "LLMScorer",
    "OpenAIModerationScorer",
    "PromptInjectionLLMGuardrail",
    "SummarizationScorer",
)
"""Through litellm, or W&B's server."""
RUN_A_MODEL = (
    "WeaveBiasScorerV1",
    "WeaveCoherenceScorerV1",
    "WeaveContextRelevanceScorerV1",
    "WeaveFluencyScorerV1",
    "WeaveHallucinationScorerV1",
    "WeaveToxicityScorerV1",
    "WeaveTrustScorerV1",
)
"""With torch, and weights from a hub."""
GIVE_NO_SCORE = ("LevenshteinScorer", "MultiTaskBinaryClassificationF1")
"""A distance without an end, and counts that are a number for a whole suite only."""
NEED_MORE = ("BedrockGuardrailScorer", "PresidioScorer", "RemoteScorer")
"""A service of AWS, a language model of spaCy, W&B's server."""
REFUSED = (*ASK_A_MODEL, *RUN_A_MODEL, *GIVE_NO_SCORE, *NEED_MORE)


class FieldType(StrEnum):
    """Type of a field, by pydantic's rules for JSON."""

    STRING = "String"
    INTEGER = "Integer"
    """A whole number, or text of one."""
    NUMBER = "Number"
    BOOLEAN = "Boolean"
    """true, false, or a number or word that pydantic takes for one."""
    LIST = "List"
    """Of anything."""
    OBJECT = "Object"
    """Of anything."""


class PydanticField(KubeModel):
    """A field of the model that answers are validated against."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    """name in the answer's JSON."""
    type: FieldType
    """type of its value."""
    required: bool = True
    """required: false allows it to be missing or null."""


def _refuse(names: tuple[str, ...], message: str) -> Rule:
    return Rule(
        cel=f"!self.scorers.exists(s, s in {list(names)})",
        message=message,
        check=lambda m: not any(s in names for s in m.scorers),
        field_path=".scorers",
    )


class WeaveScorers(KubeModel):
    """Classes of weave.scorers that score each answer. Nothing is sent to Weave for this."""

    scorers: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=128)]],
        Field(
            min_length=1,
            max_length=len(SCORERS),
            description=f"scorers by class: {', '.join(SCORERS)}. Each is a metric of that name.",
        ),
        ListSet(),
    ]
    fields: (
        Annotated[list[PydanticField], Field(min_length=1, max_length=64), ListMap("name")] | None
    ) = None
    """fields of the model that PydanticScorer validates answers against; others are ignored."""

    rules: ClassVar[tuple[Rule, ...]] = (
        _refuse(
            ASK_A_MODEL,
            "scorers that query a model bypass the keys, caps and prices of judges: use the metric "
            "JudgeScore, with the scorer's criteria in judge.rubric",
        ),
        _refuse(
            RUN_A_MODEL,
            "scorers that run a model need torch and its weights, which the evaluator doesn't "
            "have: use the metric JudgeScore, with the scorer's criteria in judge.rubric",
        ),
        _refuse(
            GIVE_NO_SCORE,
            "scorers without a score from 0 to 1 per answer, such as LevenshteinScorer and "
            "MultiTaskBinaryClassificationF1, aren't supported: use the metric F1, RougeL or "
            "ExactMatch",
        ),
        _refuse(
            NEED_MORE,
            "scorers that need an external service or language model, such as "
            "BedrockGuardrailScorer, PresidioScorer and RemoteScorer, aren't supported: use the "
            "metric RegexMatch or JudgeScore",
        ),
        Rule(
            cel="!self.scorers.exists(s, s.contains('://'))",
            message="scorers must be class names: code behind a reference (weave:///...) is never "
            "fetched and run",
            check=lambda m: not any("://" in s for s in m.scorers),
            field_path=".scorers",
        ),
        Rule(
            cel=f"self.scorers.all(s, s in {[*SCORERS, *REFUSED]} || s.contains('://'))",
            message=f"scorers must be one of {', '.join(SCORERS)}, in this spelling",
            check=lambda m: all(s in SCORERS or s in REFUSED or "://" in s for s in m.scorers),
            field_path=".scorers",
        ),
        Rule(
            cel="has(self.fields) == ('PydanticScorer' in self.scorers)",
            message="fields goes with PydanticScorer, and only with it",
            check=lambda m: (m.fields is not None) == ("PydanticScorer" in m.scorers),
            field_path=".fields",
        ),
    )
