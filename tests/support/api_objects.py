"""Objects of the API to start from, and what a case of the table is made of."""

import copy
import re
from dataclasses import dataclass
from typing import Any

from qwen3_api.kinds import EVAL, FINE_TUNE, ResourceKind
from qwen3_api.v1alpha1.meta import API_VERSION

REMOVED = object()
"""In `changed`: the field is taken out."""

Spec = dict[str, Any]

JUDGE: Spec = {
    "endpoints": [
        {
            "name": "strict",
            "url": "https://judge.example.com/v1",
            "model": "Qwen/Qwen3-235B-A22B",
            "secretRef": {"name": "judge-key"},
            "promptPrice": "0.7",
            "completionPrice": "2.8",
        },
        {
            "name": "kind",
            "url": "http://judge.models.svc:8000/v1",
            "model": "qwen3-32b",
            "promptPrice": "0",
            "completionPrice": "0",
        },
    ],
    "rubric": "Is it polite?",
    "swapPositions": False,
    "maxRequests": 500,
    "maxCost": "12.5",
}

SUITES_FULL: list[Spec] = [
    {
        "name": "held-out",
        "type": "Questions",
        "questions": {
            "data": {"type": "S3", "s3": {"uri": "s3://team-a/exam.jsonl"}},
            "metrics": ["ExactMatch", "AssistantLoss", "JSONValid", "JudgeScore", "JudgeWin"],
            "jsonSchema": '{"type": "object"}',
            "judge": JUDGE,
            "weave": {
                "scorers": ["ValidXMLScorer", "PydanticScorer"],
                "fields": [
                    {"name": "order", "type": "Integer"},
                    {"name": "note", "type": "String", "required": False},
                ],
            },
            "limit": 100,
        },
        "generation": {
            "maxTokens": 64,
            "temperature": "0.7",
            "thinking": True,
            "seed": 1,
            "samples": 1,
        },
    },
    {
        "name": "manners",
        "questions": {
            "data": {"type": "ConfigMap", "configMap": {"name": "manners", "key": "m.jsonl"}}
        },
    },
    {
        "name": "sums",
        "type": "EvalScope",
        "evalScope": {
            "dataset": "gsm8k",
            "data": {"type": "S3", "s3": {"uri": "s3://team-a/gsm8k.jsonl"}},
            "limit": 200,
            "fewShot": 4,
            "examples": {"type": "ConfigMap", "configMap": {"name": "sums", "key": "e.jsonl"}},
        },
    },
]

GATES_FULL: list[Spec] = [
    {"name": "floor", "suite": "held-out", "metric": "ExactMatch", "minimum": "0.6"},
    {
        "name": "ceiling",
        "suite": "manners",
        "metric": "AssistantLoss",
        "maximum": "1.5",
        "confidencePercent": 90,
        "onInsufficient": "Fail",
    },
    {
        "name": "no-worse",
        "suite": "held-out",
        "metric": "ExactMatch",
        "baseline": "base",
        "maxRegression": "0.02",
    },
    {
        "name": "better",
        "suite": "held-out",
        "metric": "JudgeScore",
        "baseline": "base",
        "minimumEffect": "0.05",
    },
]

RUNNER_FULL: Spec = {
    "concurrency": 4,
    "cpu": "1",
    "memory": "512Mi",
    "activeDeadlineSeconds": 600,
    "maxRetries": 1,
}

HOLDOUT_FULL: Spec = {"maxLeakedPercent": 5, "secretRef": {"name": "held-out-keys"}}

FINE_TUNE_MINIMAL: Spec = {
    "baseModel": {"name": "Qwen/Qwen3-8B"},
    "dataset": {"train": {"type": "S3", "s3": {"uri": "s3://team-a/support.jsonl"}}},
}

TRACKING_FULL: Spec = {
    "wandb": {
        "project": "qwen3",
        "entity": "team-a",
        "mode": "Online",
        "baseURL": "https://wandb.example.com",
        "secretRef": {"name": "wandb"},
    },
    "weave": {
        "project": "qwen3",
        "entity": "team-a",
        "baseURL": "https://wandb.example.com",
        "traceURL": "https://trace.example.com/traces",
        "secretRef": {"name": "wandb"},
    },
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
        "checks": {
            "maxTruncatedPercent": 1,
            "maxDroppedPercent": 0,
            "maxDuplicatePercent": 3,
            "failOnLeakage": False,
        },
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
    "tracking": TRACKING_FULL,
    "artifacts": {
        "s3": {
            "endpoint": "http://s3.storage.svc:8333",
            "bucket": "team-a",
            "region": "eu-central-1",
            "credentialsSecretRef": {"name": "team-a-s3"},
        },
        "deletionPolicy": "Delete",
    },
    "export": {"gguf": ["q4_k_m", "f16"]},
    "evaluation": {
        "suites": SUITES_FULL,
        "gates": GATES_FULL,
        "holdout": HOLDOUT_FULL,
        "runner": RUNNER_FULL,
    },
    "promotion": {
        "strategy": "Manual",
        "onFailure": "Hold",
        "approvedRevision": "0a1b2c3d",
        "force": {"revision": "0a1b2c3d", "reason": "the exam has a wrong answer"},
        "keepPreviousSeconds": 60,
    },
    "serving": {
        "mode": "SharedBase",
        "modelName": "support.v2",
        "replicas": 2,
        "rollout": {
            "canarySteps": [{"weightPercent": 5, "holdSeconds": 60}, {"weightPercent": 50}],
            "autoRollback": {
                "maxErrorRatePercent": 1,
                "maxLatencyIncreasePercent": 50,
                "minRequests": 100,
            },
        },
    },
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
    "target": {"type": "FineTune", "fineTune": {"name": "support-bot"}},
    "baselines": [
        {"name": "base", "type": "BaseModel"},
        {
            "name": "old",
            "type": "FineTune",
            "fineTune": {"name": "old-bot", "revision": "deadbeef"},
        },
        {
            "name": "other",
            "type": "Endpoint",
            "endpoint": {
                "url": "https://models.example.com/v1",
                "model": "Qwen/Qwen3-32B",
                "secretRef": {"name": "models-key"},
            },
        },
    ],
    "suites": SUITES_FULL,
    "gates": GATES_FULL,
    "holdout": HOLDOUT_FULL,
    "runner": RUNNER_FULL,
    "output": {"s3": {"bucket": "reports"}},
    "schedule": {
        "cron": "*/5 3-6 1,15 * MON-FRI",
        "timeZone": "Europe/Berlin",
        "startingDeadlineSeconds": 600,
        "historyLimit": 3,
    },
    "tracking": TRACKING_FULL,
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


def fine_tune_case(
    name: str,
    changes: dict[str, Any],
    blamed: str | None = None,
    message: str | None = None,
) -> ApiCase:
    """The minimal fine-tune with changes."""
    return ApiCase(name, FINE_TUNE, changed(FINE_TUNE_MINIMAL, changes), blamed, message)


def eval_case(
    name: str,
    changes: dict[str, Any],
    blamed: str | None = None,
    message: str | None = None,
) -> ApiCase:
    """The minimal evaluation with changes."""
    return ApiCase(name, EVAL, changed(EVAL_MINIMAL, changes), blamed, message)
