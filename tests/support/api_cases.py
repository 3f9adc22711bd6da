"""Good and bad objects of the API: one table, put to pydantic and to a real API server.

A refused case names the field to blame and, where a rule of ours refuses it, our message. Cases for
bounds and patterns are derived from the schema in `api_boundaries`.
"""

import copy
import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from qwen3_api.kinds import EVAL, FINE_TUNE, ResourceKind
from qwen3_api.v1alpha1.meta import API_VERSION, NAME_RULES

REMOVED = object()
"""In `changed`: the field is taken out."""

Spec = dict[str, Any]


# --- objects to start from ------------------------------------------------------------------------

FINE_TUNE_MINIMAL: Spec = {
    "baseModel": {"name": "Qwen/Qwen3-8B"},
    "dataset": {"train": {"type": "S3", "s3": {"uri": "s3://team-a/support.jsonl"}}},
}

FINE_TUNE_FULL: Spec = {
    "mode": "Plan",
    "suspend": True,
    "baseModel": {
        "name": "Qwen/Qwen3-8B",
        "revision": "refs/pr/1",
        "source": {"type": "S3", "s3": {"uri": "s3://models/qwen3-8b/"}},
        "tokenSecretRef": {"name": "hub-token"},
    },
    "dataset": {
        "train": {"type": "S3", "s3": {"uri": "s3://team-a/support.jsonl.gz"}},
        "validation": {"type": "ConfigMap", "configMap": {"name": "rows", "key": "held-out.jsonl"}},
        "format": "Messages",
        "maxSequenceLength": 4096,
        "chatTemplate": {"thinking": "Disabled"},
        "checks": {"maxTruncatedPercent": 1, "maxDroppedPercent": 0, "failOnLeakage": False},
    },
    "method": {"type": "SFT", "sft": {"assistantOnlyLoss": False}},
    "adapter": {
        "type": "QLoRA",
        "rank": 64,
        "alpha": 128,
        "dropout": "0.05",
        "targetModules": ["q_proj", "v_proj"],
        "useRSLoRA": True,
        "from": {"fineTuneRef": {"name": "sft-bot"}, "revision": "0a1b2c3d"},
    },
    "hyperparameters": {
        "maxSteps": 500,
        "learningRate": "1e-5",
        "scheduler": "Cosine",
        "warmupRatio": "0.1",
        "weightDecay": "0",
        "effectiveBatchSize": 32,
        "microBatchSize": 1,
        "gradientCheckpointing": False,
        "earlyStopping": {"patience": 2, "minDelta": "0.01"},
        "seed": 0,
    },
    "checkpoint": {"everySteps": 100, "keepLast": 3, "resume": "Never", "loadBest": False},
    "resources": {
        "gpus": 1,
        "gpuProduct": "NVIDIA-H100-80GB-HBM3",
        "cpu": "500m",
        "memory": "64Gi",
        "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-H100", "pool": "gpu"},
        "tolerations": [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
            {
                "key": "spot",
                "operator": "Equal",
                "value": "yes",
                "effect": "NoExecute",
                "tolerationSeconds": 60,
            },
        ],
        "priorityClassName": "batch-low",
        "queueName": "team-a",
    },
    "limits": {"maxGPUSeconds": 36000},
    "failurePolicy": {
        "maxRetries": 0,
        "onOutOfMemory": "Fail",
        "allowQuantization": True,
        "stallTimeoutSeconds": 600,
    },
    "tracking": {
        "wandb": {
            "project": "qwen3",
            "entity": "team-a",
            "mode": "Online",
            "baseURL": "https://wandb.example.com",
            "secretRef": {"name": "wandb"},
        }
    },
    "artifacts": {
        "s3": {
            "endpoint": "http://s3.storage.svc:8333",
            "bucket": "team-a",
            "region": "eu-central-1",
            "credentialsSecretRef": {"name": "team-a-s3"},
        },
        "deletionPolicy": "Delete",
    },
    "serving": {"mode": "SharedBase", "modelName": "support.v2", "replicas": 2},
    "revisionHistoryLimit": 20,
    "ttlSecondsAfterFinished": 0,
}

EVAL_MINIMAL: Spec = {
    "target": {"fineTune": {"name": "support-bot"}},
    "suites": [
        {
            "name": "held-out",
            "questions": {"data": {"type": "S3", "s3": {"uri": "s3://team-a/exam.jsonl"}}},
        }
    ],
}

EVAL_FULL: Spec = {
    "target": {"type": "FineTune", "fineTune": {"name": "support-bot", "revision": "0a1b2c3d"}},
    "baselines": [
        {"name": "base", "type": "BaseModel"},
        {
            "name": "old",
            "type": "FineTune",
            "fineTune": {"name": "old-bot", "revision": "deadbeef"},
        },
    ],
    "suites": [
        {
            "name": "held-out",
            "type": "Questions",
            "questions": {
                "data": {"type": "S3", "s3": {"uri": "s3://team-a/exam.jsonl"}},
                "metrics": ["ExactMatch"],
                "limit": 100,
            },
            "generation": {"maxTokens": 64, "temperature": "0.7", "thinking": True, "seed": 1},
        },
        {
            "name": "manners",
            "questions": {
                "data": {"type": "ConfigMap", "configMap": {"name": "manners", "key": "m.jsonl"}}
            },
        },
    ],
    "runner": {
        "concurrency": 4,
        "cpu": "1",
        "memory": "512Mi",
        "activeDeadlineSeconds": 600,
        "maxRetries": 1,
    },
    "output": {"s3": {"bucket": "reports"}},
    "suspend": True,
    "ttlSecondsAfterFinished": 60,
}

FULL: dict[str, Spec] = {FINE_TUNE.kind: FINE_TUNE_FULL, EVAL.kind: EVAL_FULL}
MINIMAL: dict[str, Spec] = {FINE_TUNE.kind: FINE_TUNE_MINIMAL, EVAL.kind: EVAL_MINIMAL}


def changed(spec: Spec, changes: dict[str, Any]) -> Spec:
    """A copy with each path ("suites[0].name") set, or taken out by REMOVED."""
    result: Spec = copy.deepcopy(spec)
    for path, value in changes.items():
        *parents, last = path_steps(path)
        place: Any = result
        for step in parents:
            place = place.setdefault(step, {}) if isinstance(place, dict) else place[int(step)]
        if value is REMOVED:
            del place[last]
        else:
            place[last] = value
    return result


def path_steps(path: str) -> list[str | int]:
    """`suites[0].name` as its steps; an escaped dot belongs to the key."""
    return [
        int(step[1:-1]) if step.startswith("[") else step.replace("\\.", ".")
        for step in re.findall(r"\[\d+\]|(?:\\.|[^.\[])+", path)
    ]


# --- the table ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ApiCase:
    """An object that is created. `blamed` is None when it must be accepted."""

    name: str
    kind: ResourceKind
    spec: Spec
    blamed: str | None = None
    message: str | None = None
    object_name: str = "case"

    def manifest(self) -> dict[str, Any]:
        """The whole object in the namespace `default`."""
        return manifest(self.kind, self.object_name, self.spec)


@dataclass(frozen=True)
class TransitionCase:
    """An object that exists and what is then applied over it."""

    name: str
    kind: ResourceKind
    old: Spec
    new: Spec
    blamed: str | None = None
    message: str | None = None


def manifest(kind: ResourceKind, name: str, spec: Spec) -> dict[str, Any]:
    """The whole object in the namespace `default`."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": copy.deepcopy(spec),
    }


def _fine_tune(
    name: str,
    changes: dict[str, Any],
    blamed: str | None = None,
    message: str | None = None,
) -> ApiCase:
    return ApiCase(name, FINE_TUNE, changed(FINE_TUNE_MINIMAL, changes), blamed, message)


def _eval(
    name: str,
    changes: dict[str, Any],
    blamed: str | None = None,
    message: str | None = None,
) -> ApiCase:
    return ApiCase(name, EVAL, changed(EVAL_MINIMAL, changes), blamed, message)


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
    _fine_tune("no-base-model", {"baseModel": REMOVED}, "spec.baseModel"),
    _fine_tune("no-dataset", {"dataset": REMOVED}, "spec.dataset"),
    _fine_tune("no-source-type", {"dataset.train.type": REMOVED}, "spec.dataset.train.type"),
    _eval("no-suites", {"suites": REMOVED}, "spec.suites"),
    _eval("no-target", {"target": REMOVED}, "spec.target"),
    # Unions: base model
    _fine_tune("source-hub", {"baseModel.source": {"type": "HuggingFace"}}),
    _fine_tune("source-s3", {"baseModel.source": {"type": "S3", "s3": S3_ROWS}}),
    _fine_tune(
        "source-s3-without",
        {"baseModel.source": {"type": "S3"}},
        "spec.baseModel.source.s3",
        "baseModel.source.s3 goes with type S3, and only with it",
    ),
    _fine_tune(
        "source-hub-with-s3",
        {"baseModel.source": {"type": "HuggingFace", "s3": S3_ROWS}},
        "spec.baseModel.source.s3",
        "baseModel.source.s3 goes with type S3, and only with it",
    ),
    # Unions: rows
    _fine_tune("rows-map", {"dataset.train": {"type": "ConfigMap", "configMap": {"name": "rows"}}}),
    _fine_tune("rows-empty", {"dataset.train.s3": REMOVED}, "spec.dataset.train.s3", S3_ONLY),
    _fine_tune(
        "rows-both",
        {"dataset.train.configMap": {"name": "rows"}},
        "spec.dataset.train.configMap",
        CONFIG_MAP_ONLY,
    ),
    _fine_tune(
        "rows-other",
        {"dataset.validation": {"type": "ConfigMap", "s3": S3_ROWS}},
        "spec.dataset.validation.s3",
        S3_ONLY,
    ),
    _fine_tune(
        "rows-map-empty",
        {"dataset.validation": {"type": "ConfigMap"}},
        "spec.dataset.validation.configMap",
        CONFIG_MAP_ONLY,
    ),
    _eval(
        "questions-both",
        {"suites[0].questions.data.configMap": {"name": "rows"}},
        "spec.suites[0].questions.data.configMap",
        CONFIG_MAP_ONLY,
    ),
    # Unions: method
    _fine_tune("method-sft", {"method": {"type": "SFT", "sft": {}}}),
    _fine_tune("method-default", {"method": {"sft": {"assistantOnlyLoss": False}}}),
    _fine_tune("dpo", {"method": {"type": "DPO"}, "dataset.format": "Preference"}),
    _fine_tune(
        "dpo-with-sft",
        {"method": {"type": "DPO", "sft": {}}, "dataset.format": "Preference"},
        "spec.method.sft",
        "method.sft goes with type SFT only",
    ),
    _fine_tune(
        "dpo-without-preference", {"method.type": "DPO"}, "spec.dataset.format", DPO_NEEDS
    ),
    _fine_tune(
        "preference-without-dpo",
        {"dataset.format": "Preference"},
        "spec.dataset.format",
        PREFERENCE_NEEDS,
    ),
    _fine_tune(
        "dpo-settings",
        {
            "method": {"type": "DPO", "dpo": {"beta": "0.05", "lossType": "IPO"}},
            "dataset.format": "Preference",
        },
    ),
    _fine_tune(
        "sft-with-dpo",
        {"method": {"type": "SFT", "dpo": {}}},
        "spec.method.dpo",
        "method.dpo goes with type DPO only",
    ),
    # Unions: baselines
    _eval("no-baseline", {"baselines": []}),
    _eval(
        "baseline-without",
        {"baselines": [{"name": "old", "type": "FineTune"}]},
        "spec.baselines[0].fineTune",
        "baselines[].fineTune goes with type FineTune, and only with it",
    ),
    _eval(
        "baseline-base-with",
        {"baselines": [{"name": "b", "type": "BaseModel", "fineTune": {"name": "old"}}]},
        "spec.baselines[0].fineTune",
        "baselines[].fineTune goes with type FineTune, and only with it",
    ),
    # Hyperparameters
    _fine_tune("epochs", {"hyperparameters.epochs": 3}),
    _fine_tune("max-steps", {"hyperparameters.maxSteps": 10}),
    _fine_tune(
        "epochs-and-steps",
        {"hyperparameters": {"epochs": 3, "maxSteps": 10}},
        "spec.hyperparameters.maxSteps",
        ONE_LENGTH,
    ),
    _fine_tune("batch-multiple", {"hyperparameters.microBatchSize": 16}),
    _fine_tune(
        "batch-odd",
        {"hyperparameters.microBatchSize": 3},
        "spec.hyperparameters.microBatchSize",
        MULTIPLE,
    ),
    _fine_tune(
        "batch-too-large",
        {"hyperparameters": {"effectiveBatchSize": 4, "microBatchSize": 8}},
        "spec.hyperparameters.microBatchSize",
        MULTIPLE,
    ),
    _fine_tune("batch-planned", {"hyperparameters": {"effectiveBatchSize": 7}}),
    _fine_tune(
        "early-stopping",
        {
            "hyperparameters.earlyStopping": {},
            "dataset.validation": {"type": "S3", "s3": S3_ROWS},
        },
    ),
    _fine_tune(
        "early-stopping-blind",
        {"hyperparameters.earlyStopping": {}},
        "spec.hyperparameters.earlyStopping",
        "hyperparameters.earlyStopping needs dataset.validation",
    ),
    _fine_tune("two-gpus", {"resources.gpus": 2, "hyperparameters.microBatchSize": 8}),
    _fine_tune(
        "two-gpus-odd",
        {"resources.gpus": 2, "hyperparameters.effectiveBatchSize": 15},
        "spec.hyperparameters.effectiveBatchSize",
        GPU_MULTIPLE,
    ),
    _fine_tune(
        "two-gpus-too-large",
        {"resources.gpus": 2, "hyperparameters.microBatchSize": 16},
        "spec.hyperparameters.effectiveBatchSize",
        GPU_MULTIPLE,
    ),
    # Tracking
    _fine_tune("wandb-offline", {"tracking.wandb": {"project": "p", "mode": "Offline"}}),
    _fine_tune(
        "wandb-without-key",
        {"tracking.wandb": {"project": "p"}},
        "spec.tracking.wandb.secretRef",
        "tracking.wandb.secretRef is needed with mode Online",
    ),
    _fine_tune("learning-rate-number", {"hyperparameters.learningRate": 2e-4},
               "spec.hyperparameters.learningRate"),
    # Where it runs
    _fine_tune("selector-long-prefix", {"resources.nodeSelector": {"a" * 253 + "/b": "c"}}),
    _fine_tune(
        "selector-longer-prefix",
        {"resources.nodeSelector": {"a" * 254 + "/b": "c"}},
        "spec.resources.nodeSelector",
        LABEL_NAMES,
    ),
    _fine_tune(
        "selector-key",
        {"resources.nodeSelector": {"-gpu": "a"}},
        "spec.resources.nodeSelector",
        LABEL_NAMES,
    ),
    _fine_tune(
        "selector-empty-key",
        {"resources.nodeSelector": {"": "a"}},
        "spec.resources.nodeSelector",
        LABEL_NAMES,
    ),
    _fine_tune("tolerate-all", {"resources.tolerations": [{"operator": "Exists"}]}),
    _fine_tune("tolerate-key", {"resources.tolerations": [{"key": "spot"}]}),
    _fine_tune(
        "tolerate-nothing",
        {"resources.tolerations": [{"value": "a"}]},
        "spec.resources.tolerations[0].key",
        "key is needed unless the operator is Exists",
    ),
    _fine_tune(
        "tolerate-exists-value",
        {"resources.tolerations": [{"operator": "Exists", "key": "a", "value": "b"}]},
        "spec.resources.tolerations[0].value",
        "value goes with operator Equal only",
    ),
    _fine_tune(
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
    _fine_tune(
        "tolerate-seconds-any-effect",
        {"resources.tolerations": [{"operator": "Exists", "tolerationSeconds": 1}]},
        "spec.resources.tolerations[0].tolerationSeconds",
        "tolerationSeconds goes with effect NoExecute only",
    ),
)  # fmt: skip

BASE_FIXED = (
    "baseModel can't change: another base is another serving pool, and what serves "
    "now would go down with the edit; apply another fine-tune"
)
BUCKET_FIXED = (
    "artifacts.s3 can't change: results would be split over two buckets; "
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


TRANSITIONS: tuple[TransitionCase, ...] = (
    _fine_tune_edit("unchanged", {}),
    _fine_tune_edit("learning-rate", {"hyperparameters.learningRate": "3e-4"}),
    _fine_tune_edit("serving", {"serving.replicas": 3}),
    _fine_tune_edit("resume", {"suspend": False}),
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
    _eval_edit("eval-baselines", {"baselines": []}, "baselines"),
    _eval_edit("eval-suites", {"suites[0].questions.limit": 99}, "suites"),
    _eval_edit("eval-suite-added", {"suites": [*EVAL_FULL["suites"], {
        "name": "more", "questions": EVAL_FULL["suites"][0]["questions"]}]}, "suites"),
    _eval_edit("eval-runner", {"runner.concurrency": 5}, "runner"),
    _eval_edit("eval-output", {"output.s3.bucket": "elsewhere"}, "output"),
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
