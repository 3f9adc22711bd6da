"""README.md of a merged model: a card that the hub's readers understand. Pure."""

import yaml

from qwen3_api.job.export import ExportJob


def render_card(job: ExportJob) -> str:
    """The card: what was merged into what."""
    front = {
        "base_model": job.base_model.name,
        "base_model_relation": "finetune",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["qwen3", "merged"],
    }
    header = yaml.safe_dump(front, sort_keys=True).strip()
    return (
        f"---\n{header}\n---\n\n# {job.name}\n\n"
        f"{job.base_model.name} at `{job.base_commit}` with the adapter `{job.adapter.digest}` of "
        f"{job.namespace}/{job.name}, revision {job.revision}, merged into its weights. The "
        "licence is the base model's.\n"
    )
