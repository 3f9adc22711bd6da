"""The part of the table about evaluations, gates and promotion; see `api_cases`."""

from typing import Any

from support.api_objects import (
    EVAL_MINIMAL,
    JUDGE,
    ApiCase,
    Spec,
    eval_case,
    fine_tune_case,
)

TARGET_FINE_TUNE = "target.fineTune goes with type FineTune, and only with it"
TARGET_ENDPOINT = "target.endpoint goes with type Endpoint, and only with it"
BASELINE_ENDPOINT = "baselines[].endpoint goes with type Endpoint, and only with it"
COST_NEEDS_PRICES = "maxCost needs promptPrice and completionPrice of every judge"
JUDGED_ONLY = "judge goes with the metrics JudgeScore and JudgeWin, and only with them"
SCHEMA_ONLY = "jsonSchema goes with the metric JSONValid, and only with it"
MORE_SAMPLES = "samples above 1 need a temperature above 0: greedy answers are all the same"
ONE_BOUND = "set exactly one of minimum, maximum, maxRegression and minimumEffect"
BASELINE_ONLY = "baseline goes with maxRegression and minimumEffect, and only with them"
WIN_MINIMUM = "a gate on JudgeWin sets minimum: it is a comparison already, 0.5 is a tie"
WIN_BASELINES = "the metric JudgeWin needs baselines to compare with"
GATES_MEASURED = "each of gates names a suite and one of the metrics of that suite"
GATES_BASELINE = "gates[].baseline is one of baselines"
GATES_OWN_BASELINE = "gates[].baseline is base or incumbent"
BASE_NEEDS_FINE_TUNE = (
    "a baseline of type BaseModel needs a target of type FineTune; set baselines, [] for none"
)
APPROVED_MANUAL = "approvedRevision goes with strategy Manual only"
FORCE_OR_BACK = "set either force or rollbackTo, not both"
EVALUATION_SERVED = (
    "evaluation needs serving.mode SharedBase: a candidate is asked where it would serve"
)
NO_TARGET = "baselines[].name can't be target: results use that name"
SERVED = {"serving": {"mode": "SharedBase"}}
ENDPOINT = {"url": "http://vllm:8000/v1", "model": "qwen3"}
FREE = {"name": "free", **ENDPOINT}
SUITE = EVAL_MINIMAL["suites"][0]
GATE = {"name": "g", "suite": "held-out", "metric": "ExactMatch", "minimum": "0.5"}


def _gate(
    name: str, changes: Spec, blamed: str | None = None, message: str | None = None
) -> ApiCase:
    """A Qwen3Eval with one gate; a None takes a field of GATE out."""
    gate = {key: value for key, value in (GATE | changes).items() if value is not None}
    return eval_case(name, {"gates": [gate]}, blamed, message)


def _judged(metrics: list[str], **questions: Any) -> dict[str, Any]:
    """Changes for a suite with these metrics."""
    found = {"suites[0].questions.metrics": metrics}
    return found | {f"suites[0].questions.{key}": value for key, value in questions.items()}


EVALUATION_CASES: tuple[ApiCase, ...] = (
    # Tracking
    eval_case(
        "eval-weave", {"tracking": {"weave": {"project": "p", "secretRef": {"name": "wandb"}}}}
    ),
    eval_case(
        "eval-weave-without-key",
        {"tracking": {"weave": {"project": "p"}}},
        "spec.tracking.weave.secretRef",
    ),
    eval_case("eval-wandb-offline", {"tracking": {"wandb": {"project": "p", "mode": "Offline"}}}),
    eval_case(
        "eval-wandb-without-key",
        {"tracking": {"wandb": {"project": "p"}}},
        "spec.tracking.wandb.secretRef",
        "tracking.wandb.secretRef is needed with mode Online",
    ),
    # Unions: whom to ask
    eval_case(
        "target-endpoint", {"target": {"type": "Endpoint", "endpoint": ENDPOINT}, "baselines": []}
    ),
    eval_case(
        "target-endpoint-without",
        {"target": {"type": "Endpoint"}, "baselines": []},
        "spec.target.endpoint",
        TARGET_ENDPOINT,
    ),
    eval_case(
        "target-fine-tune-with-endpoint",
        {"target.endpoint": ENDPOINT},
        "spec.target.endpoint",
        TARGET_ENDPOINT,
    ),
    eval_case("target-fine-tune-without", {"target": {}}, "spec.target.fineTune", TARGET_FINE_TUNE),
    eval_case(
        "target-endpoint-with-fine-tune",
        {
            "target": {"type": "Endpoint", "endpoint": ENDPOINT, "fineTune": {"name": "a"}},
            "baselines": [],
        },
        "spec.target.fineTune",
        TARGET_FINE_TUNE,
    ),
    eval_case("target-base", {"target": {"type": "BaseModel"}}, "spec.target.type"),
    eval_case(
        "baseline-endpoint",
        {"baselines": [{"name": "b", "type": "Endpoint", "endpoint": ENDPOINT}]},
    ),
    eval_case(
        "baseline-endpoint-without",
        {"baselines": [{"name": "b", "type": "Endpoint"}]},
        "spec.baselines[0].endpoint",
        BASELINE_ENDPOINT,
    ),
    eval_case(
        "baseline-base-with-endpoint",
        {"baselines": [{"name": "b", "type": "BaseModel", "endpoint": ENDPOINT}]},
        "spec.baselines[0].endpoint",
        BASELINE_ENDPOINT,
    ),
    eval_case(
        "endpoint-against-base",
        {"target": {"type": "Endpoint", "endpoint": ENDPOINT}},
        "spec.baselines",
        BASE_NEEDS_FINE_TUNE,
    ),
    eval_case(
        "baseline-target",
        {"baselines": [{"name": "target", "type": "BaseModel"}]},
        "spec.baselines[0].name",
        NO_TARGET,
    ),
    # Metrics and what they need
    eval_case("judge-score", _judged(["JudgeScore"], judge=JUDGE)),
    eval_case(
        "judge-prices-of-some",
        _judged(["JudgeScore"], judge={"endpoints": [*JUDGE["endpoints"], FREE]}),
    ),
    eval_case(
        "judge-cost-without-a-price",
        _judged(["JudgeScore"], judge={"endpoints": [*JUDGE["endpoints"], FREE], "maxCost": "1"}),
        "spec.suites[0].questions.judge.maxCost",
        COST_NEEDS_PRICES,
    ),
    eval_case(
        "judge-cost-with-half-a-price",
        _judged(["JudgeScore"], judge={"endpoints": [FREE | {"promptPrice": "1"}], "maxCost": "1"}),
        "spec.suites[0].questions.judge.maxCost",
        COST_NEEDS_PRICES,
    ),
    eval_case(
        "judge-missing",
        _judged(["ExactMatch", "JudgeWin"]),
        "spec.suites[0].questions.judge",
        JUDGED_ONLY,
    ),
    eval_case(
        "judge-idle",
        _judged(["ExactMatch"], judge=JUDGE),
        "spec.suites[0].questions.judge",
        JUDGED_ONLY,
    ),
    eval_case(
        "judge-win-against-nobody",
        _judged(["JudgeWin"], judge=JUDGE) | {"baselines": []},
        "spec.baselines",
        WIN_BASELINES,
    ),
    eval_case("schema", _judged(["JSONValid"], jsonSchema="{}")),
    eval_case(
        "schema-missing", _judged(["JSONValid"]), "spec.suites[0].questions.jsonSchema", SCHEMA_ONLY
    ),
    eval_case(
        "schema-idle",
        _judged(["F1"], jsonSchema="{}"),
        "spec.suites[0].questions.jsonSchema",
        SCHEMA_ONLY,
    ),
    eval_case("samples", {"suites[0].generation": {"samples": 5, "temperature": "0.60"}}),
    eval_case(
        "samples-greedy",
        {"suites[0].generation": {"samples": 2, "temperature": "0.0"}},
        "spec.suites[0].generation.samples",
        MORE_SAMPLES,
    ),
    # Gates
    _gate("gate", {}),
    _gate("gate-without-bound", {"minimum": None}, "spec.gates[0].minimum", ONE_BOUND),
    _gate("gate-two-bounds", {"maximum": "0.9"}, "spec.gates[0].minimum", ONE_BOUND),
    _gate("gate-effect", {"minimum": None, "minimumEffect": "0.1", "baseline": "base"}),
    _gate(
        "gate-effect-alone",
        {"minimum": None, "minimumEffect": "0.1"},
        "spec.gates[0].baseline",
        BASELINE_ONLY,
    ),
    _gate(
        "gate-regression-alone",
        {"minimum": None, "maxRegression": "0.1"},
        "spec.gates[0].baseline",
        BASELINE_ONLY,
    ),
    _gate("gate-idle-baseline", {"baseline": "base"}, "spec.gates[0].baseline", BASELINE_ONLY),
    _gate("gate-other-suite", {"suite": "other"}, "spec.gates", GATES_MEASURED),
    _gate("gate-other-metric", {"metric": "F1"}, "spec.gates", GATES_MEASURED),
    _gate(
        "gate-other-baseline",
        {"minimum": None, "maxRegression": "0.1", "baseline": "old"},
        "spec.gates",
        GATES_BASELINE,
    ),
    eval_case(
        "gate-win", _judged(["JudgeWin"], judge=JUDGE) | {"gates": [GATE | {"metric": "JudgeWin"}]}
    ),
    eval_case(
        "gate-win-effect",
        _judged(["JudgeWin"], judge=JUDGE)
        | {
            "gates": [
                GATE
                | {
                    "metric": "JudgeWin",
                    "minimum": None,
                    "minimumEffect": "0.1",
                    "baseline": "base",
                }
            ]
        },
        "spec.gates[0].minimum",
        WIN_MINIMUM,
    ),
    # Evaluation and promotion of a fine-tune
    fine_tune_case("evaluated", SERVED | {"evaluation": {"suites": [SUITE]}}),
    fine_tune_case(
        "evaluated-unserved",
        {"evaluation": {"suites": [SUITE]}},
        "spec.evaluation",
        EVALUATION_SERVED,
    ),
    fine_tune_case("evaluated-by-nothing", {"evaluation": {}}, "spec.evaluation.suites"),
    fine_tune_case(
        "evaluation-incumbent",
        SERVED
        | {
            "evaluation": {
                "suites": [SUITE],
                "gates": [
                    {key: value for key, value in GATE.items() if key != "minimum"}
                    | {"baseline": "incumbent", "maxRegression": "0"}
                ],
            }
        },
    ),
    fine_tune_case(
        "evaluation-other-metric",
        {"evaluation": {"suites": [SUITE], "gates": [GATE | {"metric": "BLEU"}]}},
        "spec.evaluation.gates",
        GATES_MEASURED,
    ),
    fine_tune_case(
        "evaluation-other-baseline",
        SERVED
        | {
            "evaluation": {
                "suites": [SUITE],
                "gates": [
                    {key: value for key, value in GATE.items() if key != "minimum"}
                    | {"baseline": "old", "maxRegression": "0"}
                ],
            }
        },
        "spec.evaluation.gates",
        GATES_OWN_BASELINE,
    ),
    fine_tune_case(
        "approved", {"promotion": {"strategy": "Manual", "approvedRevision": "0a1b2c3d"}}
    ),
    fine_tune_case(
        "approved-automatic",
        {"promotion": {"approvedRevision": "0a1b2c3d"}},
        "spec.promotion.approvedRevision",
        APPROVED_MANUAL,
    ),
    fine_tune_case("rollback", {"promotion": {"rollbackTo": "0a1b2c3d"}}),
    fine_tune_case(
        "force-and-rollback",
        {
            "promotion": {
                "rollbackTo": "0a1b2c3d",
                "force": {"revision": "4e5f6a7b", "reason": "wrong answers"},
            }
        },
        "spec.promotion.force",
        FORCE_OR_BACK,
    ),
)
