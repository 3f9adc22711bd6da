"""README.md of an adapter: a model card for the hub's readers. Pure."""

from typing import Any

import yaml

from qwen3_api.job.report import Metrics, Provenance, Sizing
from qwen3_api.job.train import TrainJob
from qwen3_api.methods import METHODS
from qwen3_trainer.front_matter import NOT_STATED

UNKNOWN_LICENSE = "that-of-the-base-model"
_SECTIONS = tuple(method.key for method in METHODS.values() if method.resolve is not None)
_INPUTS = ("dataset", "adapter", "hyperparameters", "checkpoint", "gpus")


def render_card(
    job: TrainJob, metrics: Metrics, provenance: Provenance, license_problem: str = NOT_STATED
) -> str:
    """The card; configuration and license are the manifest's. It holds nothing that differs between
    two runs of one revision: no times, no attempt, so that equal adapters have equal digests.

    license_problem: why the base model's license is unknown, where the manifest has none.
    """
    header = yaml.safe_dump(_front_matter(job, metrics, provenance.license), sort_keys=True).strip()
    configuration = yaml.safe_dump(provenance.configuration, sort_keys=False).strip()
    start = "" if provenance.started_from is None else f" It continues from {_started_from(job)}."
    method = METHODS[job.method].describe(job)
    return (
        f"---\n{header}\n---\n\n# {job.name}\n\n"
        f"A LoRA adapter for {job.base_model.name}, trained by {method}.{start}\n\n"
        f"## Training\n\n{_table(_training(job, metrics, provenance, license_problem))}\n"
        f"## Results\n\n{_table(_results(metrics))}\n"
        f"## Data\n\n{_table(_data(job, metrics, provenance))}\n"
        f"## Configuration\n\n```yaml\n{configuration}\n```\n\n"
        f"## Versions\n\n{_table(sorted(provenance.versions.items()))}\n"
        f"## Use\n\n```python\n{_usage(job)}\n```\n"
    )


def _front_matter(job: TrainJob, metrics: Metrics, base_license: str | None) -> dict[str, Any]:
    front: dict[str, Any] = {
        "base_model": job.base_model.name,
        "base_model_relation": "adapter",
        "library_name": "peft",
        "license": base_license or "other",
        "pipeline_tag": "text-generation",
        "tags": ["qwen3", "lora", job.method.lower(), "trl", "unsloth"],
    }
    if base_license is None:
        front["license_name"] = UNKNOWN_LICENSE
    if metrics.eval_loss is not None:
        loss = {"type": "loss", "name": "Validation loss", "value": metrics.eval_loss}
        result = {
            "task": {"type": "text-generation"},
            "dataset": {"name": "Validation rows", "type": "private"},
            "metrics": [loss],
        }
        front["model-index"] = [{"name": job.name, "results": [result]}]
    return front


def _started_from(job: TrainJob) -> str:
    start = job.adapter.start
    return f"the adapter `{start.digest}`" if start is not None else "a new adapter"


def render_plain_card(job: TrainJob) -> str:
    """What can be stated whatever happened: the card where `render_card` fails."""
    front = {
        "base_model": job.base_model.name,
        "base_model_relation": "adapter",
        "library_name": "peft",
        "license": "other",
        "license_name": UNKNOWN_LICENSE,
    }
    header = yaml.safe_dump(front, sort_keys=True).strip()
    return (
        f"---\n{header}\n---\n\n# {job.name}\n\n"
        f"A LoRA adapter for {job.base_model.name}. Its numbers are in COMMIT.json of the revision "
        f"{job.revision} of {job.namespace}/{job.name}.\n"
    )


def _training(
    job: TrainJob, metrics: Metrics, provenance: Provenance, license_problem: str
) -> list[tuple[str, str]]:
    adapter, hyper, method = job.adapter, job.hyperparameters, METHODS[job.method]
    length = f"{hyper.epochs} epochs" if hyper.epochs else f"{hyper.max_steps} steps"
    sizing = provenance.sizing
    quantized = adapter.quantized if sizing is None else sizing.quantized
    micro, accumulated = hyper.micro_batch_size, hyper.gradient_accumulation_steps
    if sizing is not None:
        micro, accumulated = sizing.micro_batch_size, sizing.gradient_accumulation_steps
    checkpointing = (
        hyper.gradient_checkpointing if sizing is None else sizing.gradient_checkpointing
    )
    return [
        ("Fine-tune", f"{job.namespace}/{job.name}, revision {job.revision}"),
        ("Base model", f"{job.base_model.name} at `{provenance.base_commit}`"),
        ("Its license", provenance.license or f"unknown: {license_problem}"),
        ("Method", f"{method.describe(job)}, {'QLoRA (nf4)' if quantized else 'LoRA'}"),
        ("Start", _started_from(job)),
        ("Rank, alpha, dropout", f"{adapter.rank}, {adapter.alpha}, {adapter.dropout}"),
        ("Target modules", ", ".join(adapter.target_modules)),
        ("Length", f"{length} ({metrics.steps} steps, {metrics.epochs} epochs)"),
        ("Learning rate", f"{hyper.learning_rate}, {hyper.scheduler}"),
        ("Batch", f"{micro} x {accumulated} rows x {max(1, job.gpus)}"),
        ("Gradient checkpointing", "on" if checkpointing else "off"),
        ("Loss on", method.loss_on(job)),
        ("Seed", str(provenance.seed)),
        ("Image", f"`{provenance.image}`" if provenance.image else "not stated"),
    ]


def _results(metrics: Metrics) -> list[tuple[str, str]]:
    rows = [
        ("Training loss", f"{metrics.train_loss:.4f} (mean), {metrics.final_loss:.4f} (last)"),
        ("Tokens", str(metrics.tokens)),
    ]
    if metrics.eval_loss is not None:
        rows.append(("Validation loss", f"{metrics.eval_loss:.4f}"))
    if metrics.best_step is not None:
        rows.append(("Step of the weights", f"{metrics.best_step} of {metrics.steps}, the best"))
    return rows


def _data(job: TrainJob, metrics: Metrics, provenance: Provenance) -> list[tuple[str, str]]:
    rows = [
        ("Training data", f"{metrics.rows} rows, sha256 `{provenance.dataset_sha256}`"),
        ("Rows cut to the maximum length", str(metrics.truncated_rows)),
        ("Maximum length", f"{job.dataset.max_sequence_length} tokens"),
        ("Thinking", provenance.thinking),
        ("Chat template", f"sha256 `{provenance.chat_template_sha256}`"),
    ]
    if provenance.validation_sha256 is not None:
        rows.insert(1, ("Validation data", f"sha256 `{provenance.validation_sha256}`"))
    return rows


def resolved_configuration(job: TrainJob, sizing: Sizing | None) -> dict[str, Any]:
    """What the trainer was told, defaults filled in, without the places where things lie; `sizing`
    is what was in force at the end."""
    told = job.model_dump(
        mode="json",
        include={"method", *_SECTIONS, *_INPUTS},
        exclude={"dataset": {"train", "validation"}, "adapter": {"start"}},
    )
    return {**told, "sizing": sizing.model_dump(mode="json") if sizing else None}


def _table(rows: list[tuple[str, str]]) -> str:
    lines = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"| | |\n|---|---|\n{lines}\n"


def _usage(job: TrainJob) -> str:
    return (
        "from peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM\n\n"
        f'base = AutoModelForCausalLM.from_pretrained("{job.base_model.name}", dtype="auto")\n'
        'model = PeftModel.from_pretrained(base, "<this folder>")'
    )
