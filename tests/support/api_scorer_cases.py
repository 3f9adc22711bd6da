"""The part of the table about Weave's scorers; see `api_cases`."""

from support.api_evaluation_cases import GATE, GATES_MEASURED
from support.api_objects import ApiCase, Spec, eval_case

ASKS_A_MODEL = (
    "scorers that ask a model do so past the keys, caps and prices of judges: use the metric "
    "JudgeScore, with what the scorer looks for in judge.rubric"
)
RUNS_A_MODEL = (
    "scorers that run a model need torch and its weights, which the evaluator doesn't have: use "
    "the metric JudgeScore, with what the scorer looks for in judge.rubric"
)
GIVES_NO_SCORE = (
    "scorers that give no score of 0 to 1 of each answer, as LevenshteinScorer and "
    "MultiTaskBinaryClassificationF1, aren't run: use the metric F1, RougeL or ExactMatch"
)
NEEDS_MORE = (
    "scorers that need a service or a language model besides, as BedrockGuardrailScorer, "
    "PresidioScorer and RemoteScorer, aren't run: use the metric RegexMatch or JudgeScore"
)
NO_REFERENCE = (
    "scorers are named by class: code that a reference (weave:///...) names is never fetched and "
    "run"
)
UNKNOWN_SCORER = (
    "scorers are ValidJSONScorer, ValidXMLScorer, PydanticScorer, StringMatchScorer, spelt so"
)
FIELDS_ONLY = "fields goes with PydanticScorer, and only with it"
WEAVE_ONLY = "metrics can't have the scorers of Weave: they go into weave.scorers"
WEAVE_ALONE = "metrics can be empty with weave only"
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
