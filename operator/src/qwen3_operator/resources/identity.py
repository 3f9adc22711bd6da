"""Digests of a fine-tune's spec: what makes a revision, and what its Jobs are made of beside it."""

import hashlib
import json
from typing import Any

from qwen3_api.job.export import MERGED, gguf_name
from qwen3_api.methods import canonicalize
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_api.v1alpha1.serving_spec import ServingMode
from qwen3_api.v1alpha1.training import AdapterType

TRAINING_INPUTS = ("base_model", "dataset", "method", "adapter", "hyperparameters")
"""Fields of the spec that make a revision. Everything else can change without training again."""


DEFAULT_EPOCHS = 3
DECIMALS = (
    ("adapter", "dropout"),
    ("hyperparameters", "learningRate"),
    ("hyperparameters", "warmupRatio"),
    ("hyperparameters", "weightDecay"),
)
"""Training inputs that are numbers written as text."""
NO_INPUTS = (
    ("dataset", "checks"),
    ("hyperparameters", "microBatchSize"),
    ("hyperparameters", "gradientCheckpointing"),
)
"""Fields among them that don't change what is learnt: what the preflight lets pass, and how the
work is cut for the card. (AdapterType QLoRA does change it: the frozen base is another. Left out,
it is the revision of LoRA.)"""


def spec_hash(spec: FineTuneSpec) -> str:
    """sha256 over the training inputs as canonical JSON: the identity of a revision.

    Equal for equal inputs, however they are written; so an edit and its revert are two revisions,
    not three, and the second one finds its adapter in the bucket.
    """
    # What isn't set makes no difference: a field that a later release adds must not retrain all.
    inputs = spec.model_dump(
        mode="json", by_alias=True, include=set(TRAINING_INPUTS), exclude_none=True
    )
    inputs["loadBest"] = spec.checkpoint.load_best
    _canonical(inputs)
    return hashlib.sha256(
        json.dumps(inputs, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def _canonical(inputs: dict[str, Any]) -> None:
    """Spell out what means the same, in place: a default written down is no edit, nor is 2e-4 for
    0.0002, nor another Secret for the same weights."""
    inputs["baseModel"].pop("tokenSecretRef", None)
    for section, field in NO_INPUTS:
        inputs[section].pop(field, None)
    adapter, hyper = inputs["adapter"], inputs["hyperparameters"]
    # A set in the API: its order means nothing.
    adapter["targetModules"].sort()
    adapter.setdefault("alpha", adapter["rank"])
    # What the plan makes of it is known only after the preflight, which lies in the revision.
    adapter.setdefault("type", AdapterType.LORA.value)
    if "maxSteps" not in hyper:
        hyper.setdefault("epochs", DEFAULT_EPOCHS)
    canonicalize(inputs["method"])
    if "earlyStopping" in hyper:
        stopping = hyper["earlyStopping"]
        stopping["minDelta"] = str(float(stopping["minDelta"]))
    for section, field in DECIMALS:
        inputs[section][field] = str(float(inputs[section][field]))


def resources_digest(spec: FineTuneSpec) -> str:
    """What a training Job is made of beside its revision: when it changes, the Job is made again
    and goes on from its checkpoint."""
    hyper, policy = spec.hyperparameters, spec.failure_policy
    wire = spec.resources.model_dump(mode="json", by_alias=True, exclude_none=True) | {
        "microBatchSize": hyper.micro_batch_size,
        "gradientCheckpointing": hyper.gradient_checkpointing,
        "maxGPUSeconds": spec.limits.max_gpu_seconds,
        "onOutOfMemory": policy.on_out_of_memory,
        "allowQuantization": policy.allow_quantization,
        "stallTimeoutSeconds": policy.stall_timeout_seconds,
    }
    if spec.adapter.type is None:
        # The same revision as LoRA, whose Job may be another. What names a type keeps its digest.
        wire["adapterType"] = None
    return short_digest(wire)


def checks_digest(spec: FineTuneSpec) -> str:
    """What a preflight Job is made of beside its revision."""
    # Without what is unset: a Job from before the field existed was made of the same.
    wire = spec.dataset.checks.model_dump(mode="json", by_alias=True, exclude_none=True)
    return short_digest(wire)


def short_digest(wire: dict[str, Any]) -> str:
    """Tells settings apart: 16 hex digits of the sha256 of their JSON, whatever the keys' order."""
    return hashlib.sha256(json.dumps(wire, sort_keys=True).encode()).hexdigest()[:16]


def wanted_exports(spec: FineTuneSpec) -> tuple[str, ...]:
    """Names of the artifacts that are made of every result."""
    merged = (MERGED,) if spec.serving.mode is ServingMode.MERGED else ()
    types = spec.export.gguf if spec.export is not None else ()
    return (*merged, *(gguf_name(t) for t in types))


def export_digest(spec: FineTuneSpec) -> str:
    """What an export Job is made of beside its revision."""
    wire = json.dumps(sorted(wanted_exports(spec)))
    return hashlib.sha256(wire.encode()).hexdigest()[:16]


def revision_id(digest: str) -> str:
    """The first eight hex digits of a spec hash."""
    return digest[:8]
