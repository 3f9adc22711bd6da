"""The export Job of one revision: the trainer image on a CPU, after the result is committed."""

import math
from typing import Any

from qwen3_api.job.export import ExportJob
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_operator.finetune.cpu_job import build_cpu_container, build_cpu_job
from qwen3_operator.resources.identity import export_digest
from qwen3_operator.resources.labels import (
    ANNOTATION_EXPORT,
    COMPONENT_EXPORT,
    LABEL_FINE_TUNE,
    LABEL_REVISION,
    labels,
)
from qwen3_operator.resources.names import export_name
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import Meta
from qwen3_operator.settings import Settings

Manifest = dict[str, Any]
COPIES = 2.1
"""The scratch volume holds the model in 16 bits twice: base and merged files, then merged and
converted ones. A tenth more for tokenizers and the block sizes of file systems."""
OVERHEAD_GIB = 1


def scratch_size(weight_bytes: int | None, settings: Settings) -> str:
    """Size of /work for a model whose weights take `weight_bytes` in 16 bits, as a quantity."""
    if weight_bytes is None:
        return settings.export.scratch
    return f"{math.ceil(COPIES * weight_bytes / 2**30) + OVERHEAD_GIB}Gi"


def build_export_job(
    meta: Meta,
    spec: FineTuneSpec,
    order: ExportJob,
    weight_bytes: int | None,
    storage: StorageTarget,
    settings: Settings,
) -> Manifest:
    """The Job. Its scratch space is requested, so that the scheduler says at once when no node has
    the room."""
    export, scratch = settings.export, scratch_size(weight_bytes, settings)
    requests = {"cpu": export.cpu, "memory": export.memory, "ephemeral-storage": scratch}
    return build_cpu_job(
        meta,
        name=export_name(meta.name, order.revision),
        tags=labels(
            COMPONENT_EXPORT, **{LABEL_FINE_TUNE: meta.name, LABEL_REVISION: order.revision}
        ),
        annotations={ANNOTATION_EXPORT: export_digest(spec)},
        container=build_cpu_container("export", spec, storage, settings, requests=requests),
        scratch=scratch,
        order=order,
        settings=settings,
    )
