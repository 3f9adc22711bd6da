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
TARGET_ADAPTER = "target.adapter goes with type Adapter, and only with it"
EITHER_ADAPTER = "set either fineTune or s3"
FOLDER_NEEDS = "digest and baseModel go with s3, and only with it"
SCHEDULE_SERVES = (
    "a schedule evaluates a model in service; target.type must be FineTune or Endpoint"
)
TARGET_ENDPOINT = "target.endpoint goes with type Endpoint, and only with it"
BASELINE_ENDPOINT = "baselines[].endpoint goes with type Endpoint, and only with it"
COST_NEEDS_PRICES = "maxCost needs promptPrice and completionPrice of every judge"
JUDGED_ONLY = "judge goes with the metrics JudgeScore and JudgeWin, and only with them"
SCHEMA_ONLY = "jsonSchema goes with the metric JSONValid, and only with it"
MORE_SAMPLES = "samples above 1 need a temperature above 0: greedy answers are identical"
ONE_BOUND = "set exactly one of minimum, maximum, maxRegression and minimumEffect"
BASELINE_ONLY = "baseline goes with maxRegression and minimumEffect, and only with them"
WIN_MINIMUM = "a gate on JudgeWin must set minimum: it is already a comparison, 0.5 is a tie"
WIN_BASELINES = "the metric JudgeWin needs baselines to compare with"
GATES_MEASURED = "each of gates must name a suite and one of that suite's metrics"
GATES_BASELINE = "gates[].baseline is one of baselines"
GATES_OWN_BASELINE = "gates[].baseline is base or incumbent"
BASE_NEEDS_FINE_TUNE = (
    "a baseline of type BaseModel needs a target of type FineTune or Adapter; set baselines, [] "
    "for none"
)
APPROVED_MANUAL = "approvedRevision goes with strategy Manual only"
FORCE_OR_BACK = "set either force or rollbackTo, not both"
EVALUATION_SERVED = (
    "evaluation needs serving.mode SharedBase: a candidate is evaluated on the pool that would "
    "serve it"
)
QUESTIONS_ONLY = "questions goes with type Questions, and only with it"
EVAL_SCOPE_ONLY = "evalScope goes with type EvalScope, and only with it"
ACCURACY_ONLY = "metrics can't contain Accuracy: it is the metric of suites of type EvalScope"
EXAMPLES_ONLY = "examples goes with fewShot, and only with it"
FEW_SHOT_ONLY = (
    "fewShot goes with arc, ceval, cmmlu, general_mcq, gsm8k, mmlu, mmlu_pro: the others "
    "have no examples"
)
CRON = (
    "cron has five fields (minute, hour, day of month, month, day of week), as in 0 3 * * 1, or is "
    "@hourly, @daily, @weekly, @monthly or @yearly"
)
SCHEDULE_ASKS = "a schedule evaluates the revision in service; omit target.fineTune.revision"
HOLDOUT_TARGET = (
    "holdout.maxLeakedPercent needs a target from a fine-tune: the training data of other models "
    "is unknown"
)
NO_TARGET = "baselines[].name can't be target: results use that name"
SERVED = {"serving": {"mode": "SharedBase"}}
ENDPOINT = {"url": "http://vllm:8000/v1", "model": "qwen3"}
REVISION = {"name": "support-bot", "revision": "0a1b2c3d"}
FOLDER = {
    "s3": {"uri": "s3://team-a/qwen3/default/adapters/one/"},
    "digest": "0123456789abcdef" * 4,
    "baseModel": {"name": "Qwen/Qwen3-8B"},
}
FREE = {"name": "free", **ENDPOINT}
SUITE = EVAL_MINIMAL["suites"][0]
ROWS = {"type": "S3", "s3": {"uri": "s3://team-a/rows.jsonl"}}
BENCHMARK = {"dataset": "mmlu", "data": ROWS}
GATE = {"name": "g", "suite": "held-out", "metric": "ExactMatch", "minimum": "0.5"}


def _gate(
    name: str, changes: Spec, blamed: str | None = None, message: str | None = None
) -> ApiCase:
    """A Qwen3Eval with one gate; a None takes a field of GATE out."""
    gate = {key: value for key, value in (GATE | changes).items() if value is not None}
    return eval_case(name, {"gates": [gate]}, blamed, message)


def _benchmark(
    name: str, changes: Spec, blamed: str | None = None, message: str | None = None, **more: Any
) -> ApiCase:
    """A Qwen3Eval of one benchmark; a None takes a field of BENCHMARK out."""
    found = {key: value for key, value in (BENCHMARK | changes).items() if value is not None}
    suite = {"name": "b", "type": "EvalScope", "evalScope": found}
    return eval_case(name, {"suites": [suite]} | more, blamed, message)


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
    # An adapter that needn't serve
    *(
        eval_case(f"target-adapter-{name}", {"target": {"type": "Adapter", "adapter": adapter}})
        for name, adapter in (("revision", {"fineTune": REVISION}), ("folder", FOLDER))
    ),
    eval_case(
        "target-adapter-without",
        {"target": {"type": "Adapter"}},
        "spec.target.adapter",
        TARGET_ADAPTER,
    ),
    eval_case(
        "target-fine-tune-with-adapter",
        {"target.adapter": {"fineTune": REVISION}},
        "spec.target.adapter",
        TARGET_ADAPTER,
    ),
    *(
        eval_case(
            f"target-adapter-{name}",
            {"target": {"type": "Adapter", "adapter": adapter}},
            blamed and f"spec.target.adapter.{blamed}",
            message,
        )
        for name, adapter, blamed, message in (
            ("both", {**FOLDER, "fineTune": REVISION}, "fineTune", EITHER_ADAPTER),
            ("neither", {}, "fineTune", EITHER_ADAPTER),
            (
                "undigested",
                {k: v for k, v in FOLDER.items() if k != "digest"},
                "digest",
                FOLDER_NEEDS,
            ),
            (
                "baseless",
                {k: v for k, v in FOLDER.items() if k != "baseModel"},
                "digest",
                FOLDER_NEEDS,
            ),
            (
                "revision-digested",
                {"fineTune": REVISION, "digest": FOLDER["digest"]},
                "digest",
                FOLDER_NEEDS,
            ),
            ("digest-short", {**FOLDER, "digest": "0a1b2c3d"}, "digest", None),
            ("digest-upper", {**FOLDER, "digest": "A" * 64}, "digest", None),
            ("served", {"fineTune": {"name": "support-bot"}}, "fineTune.revision", None),
        )
    ),
    eval_case(
        "schedule-of-an-adapter",
        {
            "schedule": {"cron": "@daily"},
            "target": {"type": "Adapter", "adapter": {"fineTune": REVISION}},
        },
        "spec.target",
        SCHEDULE_SERVES,
    ),
    # Held-out questions
    eval_case("holdout", {"holdout": {"maxLeakedPercent": 0}}),
    eval_case(
        "holdout-of-an-endpoint",
        {
            "target": {"type": "Endpoint", "endpoint": ENDPOINT},
            "baselines": [],
            "holdout": {"secretRef": {"name": "held-out-keys"}},
        },
    ),
    eval_case(
        "holdout-limit-of-an-endpoint",
        {
            "target": {"type": "Endpoint", "endpoint": ENDPOINT},
            "baselines": [],
            "holdout": {"maxLeakedPercent": 0},
        },
        "spec.holdout",
        HOLDOUT_TARGET,
    ),
    eval_case(
        "holdout-limit-of-a-folder",
        {
            "target": {"type": "Adapter", "adapter": FOLDER},
            "holdout": {"maxLeakedPercent": 0},
        },
        "spec.holdout",
        HOLDOUT_TARGET,
    ),
    eval_case(
        "holdout-limit-of-a-revision",
        {
            "target": {"type": "Adapter", "adapter": {"fineTune": REVISION}},
            "holdout": {"maxLeakedPercent": 0},
        },
    ),
    # Schedules
    *(
        eval_case(f"cron-{good}", {"schedule": {"cron": good}})
        for good in ("0 3 * * *", "*/10  0-6 L * MON,FRI", "@hourly", "0 0 * * 5L")
    ),
    *(
        eval_case(f"cron-not-{bad!r}", {"schedule": {"cron": bad}}, "spec.schedule.cron", CRON)
        for bad in (
            "0 3 * *",
            "0 0 3 * * *",
            "@every 1h",
            "TZ=UTC 0 3 * * *",
            " 0 3 * * *",
            "0 3 * * *\n",
            "nightly",
            "０ 3 * * *",
        )
    ),
    eval_case(
        "schedule-of-a-revision",
        {"schedule": {"cron": "@daily"}, "target.fineTune.revision": "0a1b2c3d"},
        "spec.target",
        SCHEDULE_ASKS,
    ),
    eval_case(
        "schedule-of-an-endpoint",
        {
            "schedule": {"cron": "@daily"},
            "target": {"type": "Endpoint", "endpoint": ENDPOINT},
            "baselines": [],
        },
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
        _judged(["JudgeScore"], judge={"endpoints": [FREE | {"promptPrice": 1}], "maxCost": 1}),
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
    eval_case("samples-number", {"suites[0].generation": {"samples": 5, "temperature": 0.6}}),
    *(
        eval_case(
            f"samples-greedy-{zero!r}",
            {"suites[0].generation": {"samples": 2, "temperature": zero}},
            "spec.suites[0].generation.samples",
            MORE_SAMPLES,
        )
        for zero in (0, 0.0, "0", "0.000000")
    ),
    # Benchmarks
    _benchmark("benchmark", {}),
    _benchmark("benchmark-few-shot", {"fewShot": 5, "examples": ROWS}),
    _benchmark("benchmark-unknown", {"dataset": "gsm9k"}, "spec.suites[0].evalScope.dataset"),
    _benchmark(
        "benchmark-without-examples",
        {"fewShot": 5},
        "spec.suites[0].evalScope.examples",
        EXAMPLES_ONLY,
    ),
    _benchmark(
        "benchmark-idle-examples",
        {"examples": ROWS},
        "spec.suites[0].evalScope.examples",
        EXAMPLES_ONLY,
    ),
    _benchmark(
        "benchmark-never-few-shot",
        {"dataset": "aime24", "fewShot": 2, "examples": ROWS},
        "spec.suites[0].evalScope.fewShot",
        FEW_SHOT_ONLY,
    ),
    _benchmark(
        "benchmark-gate",
        {},
        gates=[{"name": "g", "suite": "b", "metric": "Accuracy", "minimum": "0.5"}],
    ),
    _benchmark(
        "benchmark-gate-of-another-metric",
        {},
        "spec.gates",
        GATES_MEASURED,
        gates=[{"name": "g", "suite": "b", "metric": "ExactMatch", "minimum": "0.5"}],
    ),
    _benchmark(
        "benchmark-against-nobody",
        {},
        target={"type": "Endpoint", "endpoint": ENDPOINT},
        baselines=[],
    ),
    eval_case(
        "benchmark-nothing",
        {"suites": [{"name": "b", "type": "EvalScope"}]},
        "spec.suites[0].evalScope",
        EVAL_SCOPE_ONLY,
    ),
    eval_case(
        "questions-nothing", {"suites": [{"name": "b"}]}, "spec.suites[0].questions", QUESTIONS_ONLY
    ),
    eval_case(
        "questions-with-benchmark",
        {"suites[0].evalScope": BENCHMARK},
        "spec.suites[0].evalScope",
        EVAL_SCOPE_ONLY,
    ),
    eval_case(
        "benchmark-with-questions",
        {
            "suites": [
                {
                    "name": "b",
                    "type": "EvalScope",
                    "evalScope": BENCHMARK,
                    "questions": SUITE["questions"],
                }
            ]
        },
        "spec.suites[0].questions",
        QUESTIONS_ONLY,
    ),
    eval_case(
        "questions-accuracy",
        _judged(["Accuracy"]),
        "spec.suites[0].questions.metrics",
        ACCURACY_ONLY,
    ),
    # Gates
    _gate("gate", {}),
    _gate("gate-without-bound", {"minimum": None}, "spec.gates[0].minimum", ONE_BOUND),
    _gate("gate-two-bounds", {"maximum": "0.9"}, "spec.gates[0].minimum", ONE_BOUND),
    _gate("gate-effect", {"minimum": None, "minimumEffect": "0.1", "baseline": "base"}),
    _gate("gate-number", {"minimum": 0.5}),
    _gate("gate-number-effect", {"minimum": None, "minimumEffect": 0.1, "baseline": "base"}),
    _gate("gate-two-numbers", {"maximum": 1}, "spec.gates[0].minimum", ONE_BOUND),
    _gate(
        "gate-number-idle",
        {"baseline": "base", "minimum": 0.5},
        "spec.gates[0].baseline",
        BASELINE_ONLY,
    ),
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
