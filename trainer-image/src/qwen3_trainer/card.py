"""README.md of an adapter: a model card for the hub's readers. Pure."""

import yaml

from qwen3_api.job.report import Metrics, Provenance
from qwen3_api.job.train import TrainJob


def render_card(
    job: TrainJob, metrics: Metrics, provenance: Provenance, base_license: str | None
) -> str:
    """The card. It holds nothing that differs between two runs of one revision: no times, no
    attempt, so that equal adapters have equal digests."""
    front = {
        "base_model": job.base_model.name,
        "library_name": "peft",
        "license": base_license or "other",
        "pipeline_tag": "text-generation",
        "tags": ["qwen3", "lora", "sft"],
    }
    adapter, hyper = job.adapter, job.hyperparameters
    length = f"{hyper.epochs} epochs" if hyper.epochs else f"{hyper.max_steps} steps"
    rows = [
        ("Fine-tune", f"{job.namespace}/{job.name}, revision {job.revision}"),
        ("Base model", f"{job.base_model.name} at `{provenance.base_commit}`"),
        ("Training data", f"{metrics.rows} rows, sha256 `{provenance.dataset_sha256}`"),
        ("Rows cut to the maximum length", str(metrics.truncated_rows)),
        ("Maximum length", f"{job.dataset.max_sequence_length} tokens"),
        ("Method", f"{job.method}, {'QLoRA (nf4)' if adapter.quantized else 'LoRA'}"),
        ("Rank, alpha, dropout", f"{adapter.rank}, {adapter.alpha}, {adapter.dropout}"),
        ("rsLoRA", str(adapter.use_rslora).lower()),
        ("Target modules", ", ".join(adapter.target_modules)),
        ("Length", f"{length} ({metrics.steps} steps, {metrics.epochs} epochs)"),
        ("Learning rate", f"{hyper.learning_rate}, {hyper.scheduler}"),
        ("Warm-up, weight decay", f"{hyper.warmup_ratio}, {hyper.weight_decay}"),
        ("Batch", f"{hyper.micro_batch_size} x {hyper.gradient_accumulation_steps} rows"),
        ("Loss on", "the assistant's turns" if hyper.assistant_only_loss else "all tokens"),
        ("Seed", str(hyper.seed)),
        ("Training loss", f"{metrics.train_loss:.4f} (mean), {metrics.final_loss:.4f} (last)"),
    ]
    if metrics.eval_loss is not None:
        rows.append(("Validation loss", f"{metrics.eval_loss:.4f}"))
    rows += [
        (f"Version of {name}", version) for name, version in sorted(provenance.versions.items())
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    header = yaml.safe_dump(front, sort_keys=True).strip()
    return (
        f"---\n{header}\n---\n\n# {job.name}\n\n"
        f"A LoRA adapter for {job.base_model.name}.\n\n| | |\n|---|---|\n{table}\n"
    )


def read_license(readme: str) -> str | None:
    """The license in the front matter of a base model's card."""
    parts = readme.split("---\n", 2)
    if len(parts) < 3 or parts[0].strip():
        return None
    try:
        front = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return None
    value = front.get("license") if isinstance(front, dict) else None
    return value if isinstance(value, str) else None
