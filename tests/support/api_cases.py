"""Good and bad objects of the API: one table, put to pydantic and to a real API server.

A refused case names the field to blame and, where a rule of ours refuses it, our message. Cases for
bounds and patterns are derived from the schema in `api_boundaries`.
"""

import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from qwen3_api.kinds import EVAL, FINE_TUNE, ResourceKind
from qwen3_api.v1alpha1.meta import NAME_RULES
from support.api_evaluation_cases import EVALUATION_CASES
from support.api_objects import (
    EVAL_FULL,
    EVAL_MINIMAL,
    FINE_TUNE_FULL,
    FINE_TUNE_MINIMAL,
    REMOVED,
    ApiCase,
    Spec,
    TransitionCase,
    changed,
    eval_case,
    fine_tune_case,
)
from support.api_scorer_cases import SCORER_CASES

S3_ONLY = "s3 goes with type S3, and only with it"
CONFIG_MAP_ONLY = "configMap goes with type ConfigMap, and only with it"
DPO_NEEDS = "method DPO needs dataset.format Preference (rows of prompt, chosen, rejected)"
PREFERENCE_NEEDS = "dataset.format Preference needs method DPO"
ONE_LENGTH = "set either hyperparameters.epochs or hyperparameters.maxSteps, not both"
MULTIPLE = "effectiveBatchSize must be a multiple of microBatchSize"
GPU_MULTIPLE = (
    "hyperparameters.effectiveBatchSize must be a multiple of resources.gpus times microBatchSize"
)
LABEL_NAMES = "nodeSelector keys must be label names, like nvidia.com/gpu.product"
S3_ROWS = {"uri": "s3://team-a/rows.jsonl"}
LONG_NAME, ODD_NAME = (rule.message for rule in NAME_RULES)
CASES: tuple[ApiCase, ...] = (
    ApiCase("fine-tune-minimal", FINE_TUNE, FINE_TUNE_MINIMAL),
    ApiCase("fine-tune-full", FINE_TUNE, FINE_TUNE_FULL),
    ApiCase("eval-minimal", EVAL, EVAL_MINIMAL),
    ApiCase("eval-full", EVAL, EVAL_FULL),
    # Names of objects
    ApiCase("name-40", FINE_TUNE, FINE_TUNE_MINIMAL, object_name="a" * 40),
    ApiCase(
        "name-41", FINE_TUNE, FINE_TUNE_MINIMAL, "metadata.name", LONG_NAME, object_name="a" * 41
    ),
    ApiCase("name-41-eval", EVAL, EVAL_MINIMAL, "metadata.name", LONG_NAME, object_name="a" * 41),
    ApiCase("name-digit", FINE_TUNE, FINE_TUNE_MINIMAL, "metadata.name", ODD_NAME, "1st"),
    ApiCase("name-dot", FINE_TUNE, FINE_TUNE_MINIMAL, "metadata.name", ODD_NAME, "a.b"),
    ApiCase("name-one-letter", FINE_TUNE, FINE_TUNE_MINIMAL, object_name="a"),
    # What is missing or misspelt
    fine_tune_case("no-base-model", {"baseModel": REMOVED}, "spec.baseModel"),
    fine_tune_case("no-dataset", {"dataset": REMOVED}, "spec.dataset"),
    fine_tune_case("no-source-type", {"dataset.train.type": REMOVED}, "spec.dataset.train.type"),
    eval_case("no-suites", {"suites": REMOVED}, "spec.suites"),
    eval_case("no-target", {"target": REMOVED}, "spec.target"),
    # Exports
    fine_tune_case("merged", {"serving.mode": "Merged", "export": {"gguf": ["q4_k_m"]}}),
    fine_tune_case("export-nothing", {"export": {}}, "spec.export.gguf"),
    fine_tune_case("export-empty", {"export": {"gguf": []}}, "spec.export.gguf"),
    fine_tune_case("export-unknown", {"export": {"gguf": ["q4_k_xl"]}}, "spec.export.gguf[0]"),
    fine_tune_case("export-upper", {"export": {"gguf": ["Q4_K_M"]}}, "spec.export.gguf[0]"),
    # Unions: base model
    fine_tune_case("source-hub", {"baseModel.source": {"type": "HuggingFace"}}),
    fine_tune_case("source-s3", {"baseModel.source": {"type": "S3", "s3": S3_ROWS}}),
    fine_tune_case(
        "source-s3-without",
        {"baseModel.source": {"type": "S3"}},
        "spec.baseModel.source.s3",
        "baseModel.source.s3 goes with type S3, and only with it",
    ),
    fine_tune_case(
        "source-hub-with-s3",
        {"baseModel.source": {"type": "HuggingFace", "s3": S3_ROWS}},
        "spec.baseModel.source.s3",
        "baseModel.source.s3 goes with type S3, and only with it",
    ),
    # Unions: rows
    fine_tune_case(
        "rows-map", {"dataset.train": {"type": "ConfigMap", "configMap": {"name": "rows"}}}
    ),
    fine_tune_case("rows-empty", {"dataset.train.s3": REMOVED}, "spec.dataset.train.s3", S3_ONLY),
    fine_tune_case(
        "rows-both",
        {"dataset.train.configMap": {"name": "rows"}},
        "spec.dataset.train.configMap",
        CONFIG_MAP_ONLY,
    ),
    fine_tune_case(
        "rows-other",
        {"dataset.validation": {"type": "ConfigMap", "s3": S3_ROWS}},
        "spec.dataset.validation.s3",
        S3_ONLY,
    ),
    fine_tune_case(
        "rows-map-empty",
        {"dataset.validation": {"type": "ConfigMap"}},
        "spec.dataset.validation.configMap",
        CONFIG_MAP_ONLY,
    ),
    eval_case(
        "questions-both",
        {"suites[0].questions.data.configMap": {"name": "rows"}},
        "spec.suites[0].questions.data.configMap",
        CONFIG_MAP_ONLY,
    ),
    # Unions: method
    fine_tune_case("method-sft", {"method": {"type": "SFT", "sft": {}}}),
    fine_tune_case("method-default", {"method": {"sft": {"assistantOnlyLoss": False}}}),
    fine_tune_case("dpo", {"method": {"type": "DPO"}, "dataset.format": "Preference"}),
    fine_tune_case(
        "dpo-with-sft",
        {"method": {"type": "DPO", "sft": {}}, "dataset.format": "Preference"},
        "spec.method.sft",
        "method.sft goes with type SFT only",
    ),
    fine_tune_case(
        "dpo-without-preference", {"method.type": "DPO"}, "spec.dataset.format", DPO_NEEDS
    ),
    fine_tune_case(
        "preference-without-dpo",
        {"dataset.format": "Preference"},
        "spec.dataset.format",
        PREFERENCE_NEEDS,
    ),
    fine_tune_case(
        "dpo-settings",
        {
            "method": {"type": "DPO", "dpo": {"beta": "0.05", "lossType": "IPO"}},
            "dataset.format": "Preference",
        },
    ),
    fine_tune_case(
        "sft-with-dpo",
        {"method": {"type": "SFT", "dpo": {}}},
        "spec.method.dpo",
        "method.dpo goes with type DPO only",
    ),
    # Unions: baselines
    eval_case("no-baseline", {"baselines": []}),
    eval_case(
        "baseline-without",
        {"baselines": [{"name": "old", "type": "FineTune"}]},
        "spec.baselines[0].fineTune",
        "baselines[].fineTune goes with type FineTune, and only with it",
    ),
    eval_case(
        "baseline-base-with",
        {"baselines": [{"name": "b", "type": "BaseModel", "fineTune": {"name": "old"}}]},
        "spec.baselines[0].fineTune",
        "baselines[].fineTune goes with type FineTune, and only with it",
    ),
    *EVALUATION_CASES,
    *SCORER_CASES,
    # Hyperparameters
    fine_tune_case("epochs", {"hyperparameters.epochs": 3}),
    fine_tune_case("max-steps", {"hyperparameters.maxSteps": 10}),
    fine_tune_case(
        "epochs-and-steps",
        {"hyperparameters": {"epochs": 3, "maxSteps": 10}},
        "spec.hyperparameters.maxSteps",
        ONE_LENGTH,
    ),
    fine_tune_case("batch-multiple", {"hyperparameters.microBatchSize": 16}),
    fine_tune_case(
        "batch-odd",
        {"hyperparameters.microBatchSize": 3},
        "spec.hyperparameters.microBatchSize",
        MULTIPLE,
    ),
    fine_tune_case(
        "batch-too-large",
        {"hyperparameters": {"effectiveBatchSize": 4, "microBatchSize": 8}},
        "spec.hyperparameters.microBatchSize",
        MULTIPLE,
    ),
    fine_tune_case("batch-planned", {"hyperparameters": {"effectiveBatchSize": 7}}),
    fine_tune_case(
        "early-stopping",
        {
            "hyperparameters.earlyStopping": {},
            "dataset.validation": {"type": "S3", "s3": S3_ROWS},
        },
    ),
    fine_tune_case(
        "early-stopping-blind",
        {"hyperparameters.earlyStopping": {}},
        "spec.hyperparameters.earlyStopping",
        "hyperparameters.earlyStopping needs dataset.validation",
    ),
    fine_tune_case("two-gpus", {"resources.gpus": 2, "hyperparameters.microBatchSize": 8}),
    fine_tune_case(
        "two-gpus-odd",
        {"resources.gpus": 2, "hyperparameters.effectiveBatchSize": 15},
        "spec.hyperparameters.effectiveBatchSize",
        GPU_MULTIPLE,
    ),
    fine_tune_case(
        "two-gpus-too-large",
        {"resources.gpus": 2, "hyperparameters.microBatchSize": 16},
        "spec.hyperparameters.effectiveBatchSize",
        GPU_MULTIPLE,
    ),
    # Tracking
    fine_tune_case("wandb-offline", {"tracking.wandb": {"project": "p", "mode": "Offline"}}),
    fine_tune_case(
        "wandb-without-key",
        {"tracking.wandb": {"project": "p"}},
        "spec.tracking.wandb.secretRef",
        "tracking.wandb.secretRef is needed with mode Online",
    ),
    # Where it runs
    fine_tune_case("selector-long-prefix", {"resources.nodeSelector": {"a" * 253 + "/b": "c"}}),
    fine_tune_case(
        "selector-longer-prefix",
        {"resources.nodeSelector": {"a" * 254 + "/b": "c"}},
        "spec.resources.nodeSelector",
        LABEL_NAMES,
    ),
    fine_tune_case(
        "selector-key",
        {"resources.nodeSelector": {"-gpu": "a"}},
        "spec.resources.nodeSelector",
        LABEL_NAMES,
    ),
    fine_tune_case(
        "selector-empty-key",
        {"resources.nodeSelector": {"": "a"}},
        "spec.resources.nodeSelector",
        LABEL_NAMES,
    ),
    fine_tune_case("tolerate-all", {"resources.tolerations": [{"operator": "Exists"}]}),
    fine_tune_case("tolerate-key", {"resources.tolerations": [{"key": "spot"}]}),
    fine_tune_case(
        "tolerate-nothing",
        {"resources.tolerations": [{"value": "a"}]},
        "spec.resources.tolerations[0].key",
        "key is needed unless the operator is Exists",
    ),
    fine_tune_case(
        "tolerate-exists-value",
        {"resources.tolerations": [{"operator": "Exists", "key": "a", "value": "b"}]},
        "spec.resources.tolerations[0].value",
        "value goes with operator Equal only",
    ),
    fine_tune_case(
        "tolerate-seconds",
        {
            "resources.tolerations": [
                {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1},
                {"operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 1},
            ]
        },
        "spec.resources.tolerations[1].tolerationSeconds",
        "tolerationSeconds goes with effect NoExecute only",
    ),
    fine_tune_case(
        "tolerate-seconds-any-effect",
        {"resources.tolerations": [{"operator": "Exists", "tolerationSeconds": 1}]},
        "spec.resources.tolerations[0].tolerationSeconds",
        "tolerationSeconds goes with effect NoExecute only",
    ),
)  # fmt: skip

BASE_FIXED = (
    "baseModel can't change: another base model needs another serving pool, and the current "
    "adapter would go out of service; apply another fine-tune"
)
BUCKET_FIXED = (
    "artifacts.s3 can't change: results would be split between two buckets; "
    "delete the object and apply it again"
)


def _fine_tune_edit(
    name: str, changes: dict[str, Any], blamed: str | None = None, message: str | None = None
) -> TransitionCase:
    new = changed(FINE_TUNE_FULL, changes)
    return TransitionCase(name, FINE_TUNE, FINE_TUNE_FULL, new, blamed, message)


def _eval_edit(
    name: str, changes: dict[str, Any], frozen: str | None = None, old: Spec = EVAL_FULL
) -> TransitionCase:
    message = (
        frozen and f"{frozen} can't change once an evaluation exists; apply another evaluation"
    )
    return TransitionCase(
        name, EVAL, old, changed(old, changes), f"spec.{frozen}" if frozen else None, message
    )


SCHEDULED = changed(EVAL_MINIMAL, {"schedule": {"cron": "@daily"}})
SCHEDULE_FIXED = "schedule can be edited, but neither added nor removed; apply another evaluation"

TRANSITIONS: tuple[TransitionCase, ...] = (
    _fine_tune_edit("unchanged", {}),
    _fine_tune_edit("learning-rate", {"hyperparameters.learningRate": "3e-4"}),
    _fine_tune_edit("serving", {"serving.replicas": 3}),
    _fine_tune_edit("export", {"export": {"gguf": ["q8_0"]}}),
    _fine_tune_edit("resume", {"suspend": False}),
    _fine_tune_edit("approve", {"promotion.approvedRevision": "4e5f6a7b"}),
    _fine_tune_edit("other-gates", {"evaluation.gates": []}),
    _fine_tune_edit("no-evaluation", {"evaluation": REMOVED}),
    _fine_tune_edit("retain", {"artifacts.deletionPolicy": "Retain"}),
    _fine_tune_edit(
        "bucket", {"artifacts.s3.bucket": "team-b"}, "spec.artifacts.s3", BUCKET_FIXED
    ),
    _fine_tune_edit(
        "endpoint", {"artifacts.s3.endpoint": REMOVED}, "spec.artifacts.s3", BUCKET_FIXED
    ),
    _fine_tune_edit("base", {"baseModel.name": "Qwen/Qwen3-14B"}, "spec.baseModel", BASE_FIXED),
    _fine_tune_edit(
        "base-revision", {"baseModel.revision": "0123abc"}, "spec.baseModel", BASE_FIXED
    ),
    _fine_tune_edit("base-source", {"baseModel.source": REMOVED}, "spec.baseModel", BASE_FIXED),
    _fine_tune_edit("base-token", {"baseModel.tokenSecretRef": {"name": "other"}}),
    TransitionCase(
        "bucket-named-later",
        FINE_TUNE,
        FINE_TUNE_MINIMAL,
        changed(FINE_TUNE_MINIMAL, {"artifacts.s3.bucket": "team-a"}),
        "spec.artifacts.s3",
        BUCKET_FIXED,
    ),
    TransitionCase(
        "default-spelt-out",
        FINE_TUNE,
        FINE_TUNE_MINIMAL,
        changed(FINE_TUNE_MINIMAL, {"artifacts": {"s3": {}, "deletionPolicy": "Retain"}}),
    ),
    _eval_edit("eval-unchanged", {}),
    _eval_edit("eval-go", {"suspend": False, "ttlSecondsAfterFinished": 0}),
    _eval_edit("eval-order", {"suites": EVAL_FULL["suites"][::-1]}),
    _eval_edit("eval-default-spelt-out", {"suites[1].type": "Questions"}),
    _eval_edit("eval-target", {"target.fineTune.name": "other"}, "target"),
    _eval_edit("eval-baselines", {"baselines": EVAL_FULL["baselines"][:2]}, "baselines"),
    _eval_edit("eval-suites", {"suites[0].questions.limit": 99}, "suites"),
    _eval_edit("eval-suite-added", {"suites": [*EVAL_FULL["suites"], {
        "name": "more", "questions": EVAL_FULL["suites"][0]["questions"]}]}, "suites"),
    _eval_edit("eval-gates", {"gates[0].minimum": "0.5"}, "gates"),
    _eval_edit("eval-gates-order", {"gates": EVAL_FULL["gates"][::-1]}),
    _eval_edit("eval-runner", {"runner.concurrency": 5}, "runner"),
    _eval_edit("eval-tracking", {"tracking.weave": REMOVED}, "tracking"),
    _eval_edit("eval-output", {"output.s3.bucket": "elsewhere"}, "output"),
    _eval_edit("eval-holdout", {"holdout.maxLeakedPercent": 99}, "holdout"),
    _eval_edit("eval-holdout-removed", {"holdout": REMOVED}, "holdout"),
    _eval_edit("eval-schedule-edited", {"schedule.cron": "@daily", "schedule.historyLimit": 9}),
    *(
        TransitionCase(name, EVAL, old, new, "spec.schedule", SCHEDULE_FIXED)
        for name, old, new in (
            ("eval-schedule-added", EVAL_MINIMAL, SCHEDULED),
            ("eval-schedule-taken-away", SCHEDULED, EVAL_MINIMAL),
        )
    ),
)  # fmt: skip


# --- what pydantic says ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Refusal:
    """One reason for refusing an object: the field in CRD spelling, and what is wrong with it."""

    path: str
    message: str


def model_refusals(kind: ResourceKind, name: str, spec: Spec) -> list[Refusal]:
    """What the models have against an object; empty when they take it."""
    found = [
        Refusal((rule.field_path or "").removeprefix("."), rule.message)
        for rule in NAME_RULES
        if not rule.check(name)
    ]
    try:
        kind.spec.model_validate(spec)
    except ValidationError as error:
        found += [_refusal(detail["loc"], detail["msg"]) for detail in error.errors()]
    return found


def model_transition_refusals(case: TransitionCase) -> list[Refusal]:
    """What the transition rules of all models have against an update."""
    old, new = case.kind.spec.model_validate(case.old), case.kind.spec.model_validate(case.new)
    return [
        Refusal(f"spec{rule.field_path or ''}", rule.message)
        for rule in case.kind.spec.transition_rules
        if not rule.check(new, old)
    ]


def _refusal(location: tuple[str | int, ...], message: str) -> Refusal:
    """A rule's message begins with its field path (see KubeModel); else the location is exact."""
    path = "spec" + "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in location)
    message = message.removeprefix("Value error, ")
    below = re.match(r"(\.[A-Za-z0-9.]+): ", message)
    return Refusal(path + below[1], message[below.end() :]) if below else Refusal(path, message)
