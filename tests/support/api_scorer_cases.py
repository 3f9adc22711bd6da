"""The part of the table about Weave's scorers; see `api_cases`."""

from support.api_evaluation_cases import GATE, GATES_MEASURED
from support.api_objects import ApiCase, Spec, eval_case

ASKS_A_MODEL = (
    "scorers that query a model bypass the keys, caps and prices of judges: use the metric "
    "JudgeScore, with the scorer's criteria in judge.rubric"
)
RUNS_A_MODEL = (
    "scorers that run a model need torch and its weights, which the evaluator doesn't have: use "
    "the metric JudgeScore, with the scorer's criteria in judge.rubric"
)
GIVES_NO_SCORE = (
    "scorers without a score from 0 to 1 per answer, such as LevenshteinScorer and "
    "MultiTaskBinaryClassificationF1, aren't supported: use the metric F1, RougeL or ExactMatch"
)
NEEDS_MORE = (
    "scorers that need an external service or language model, such as BedrockGuardrailScorer, "
    "PresidioScorer and RemoteScorer, aren't supported: use the metric RegexMatch or JudgeScore"
)
NO_REFERENCE = (
    "scorers must be class names: code behind a reference (weave:///...) is never fetched and run"
)
UNKNOWN_SCORER = (
    "scorers must be one of ValidJSONScorer, ValidXMLScorer, PydanticScorer, StringMatchScorer, "
    "in this spelling"
)
FIELDS_ONLY = "fields goes with PydanticScorer, and only with it"
WEAVE_ONLY = "metrics can't contain Weave scorers: list them in weave.scorers"
WEAVE_ALONE = "metrics can be empty only with weave"
FIELD = {"name": "order", "type": "Integer"}
ALONE: Spec = {
    "suites[0].questions.metrics": [],
    "suites[0].questions.weave": {"scorers": ["StringMatchScorer"]},
}


def _scored(
    name: str, weave: Spec, blamed: str | None = None, message: str | None = None
) -> ApiCase:
    """A Qwen3Eval whose questions are scored by Weave."""
    where = blamed and f"spec.suites[0].questions.weave.{blamed}"
    return eval_case(f"scorers-{name}", {"suites[0].questions.weave": weave}, where, message)


SCORER_CASES: tuple[ApiCase, ...] = (
    _scored("one", {"scorers": ["ValidXMLScorer"]}),
    _scored(
        "all",
        {
            "scorers": ["ValidJSONScorer", "ValidXMLScorer", "PydanticScorer", "StringMatchScorer"],
            "fields": [FIELD, {"name": "订单", "type": "List", "required": False}],
        },
    ),
    _scored("fields-missing", {"scorers": ["PydanticScorer"]}, "fields", FIELDS_ONLY),
    _scored(
        "fields-idle", {"scorers": ["ValidXMLScorer"], "fields": [FIELD]}, "fields", FIELDS_ONLY
    ),
    *(
        _scored(name, {"scorers": ["ValidXMLScorer", scorer]}, "scorers", message)
        for name, scorer, message in (
            ("asks", "HallucinationFreeScorer", ASKS_A_MODEL),
            ("judges", "LLMAsAJudgeScorer", ASKS_A_MODEL),
            ("runs", "WeaveToxicityScorerV1", RUNS_A_MODEL),
            ("distance", "LevenshteinScorer", GIVES_NO_SCORE),
            ("counts", "MultiTaskBinaryClassificationF1", GIVES_NO_SCORE),
            ("presidio", "PresidioScorer", NEEDS_MORE),
            ("reference", "weave:///team-a/bots/object/Polite:a1b2c3", NO_REFERENCE),
            ("unknown", "JSONScorer", UNKNOWN_SCORER),
            ("spelling", "validXMLScorer", UNKNOWN_SCORER),
        )
    ),
    eval_case(
        "scorers-alone",
        ALONE | {"gates": [GATE | {"metric": "StringMatchScorer"}]},
    ),
    eval_case(
        "scorers-gate-of-another",
        ALONE | {"gates": [GATE | {"metric": "ValidJSONScorer"}]},
        "spec.gates",
        GATES_MEASURED,
    ),
    eval_case(
        "metrics-none",
        {"suites[0].questions.metrics": []},
        "spec.suites[0].questions.metrics",
        WEAVE_ALONE,
    ),
    eval_case(
        "metrics-scorer",
        {"suites[0].questions.metrics": ["ValidXMLScorer"]},
        "spec.suites[0].questions.metrics",
        WEAVE_ONLY,
    ),
)
