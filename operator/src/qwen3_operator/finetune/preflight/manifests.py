"""The preflight Job of one revision: the trainer image on a CPU, before any GPU is asked for."""

from typing import Any

from qwen3_api.job.preflight import PreflightJob
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_operator.finetune.cpu_job import build_cpu_container, build_cpu_job
from qwen3_operator.finetune.training.manifests import data_mounts
from qwen3_operator.resources.identity import checks_digest
from qwen3_operator.resources.labels import (
    ANNOTATION_CHECKS,
    COMPONENT_PREFLIGHT,
    LABEL_FINE_TUNE,
    LABEL_REVISION,
    labels,
)
from qwen3_operator.resources.names import preflight_name
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import Meta
from qwen3_operator.settings import Settings

Manifest = dict[str, Any]
TTL_SECONDS = 86_400
"""A refused preflight is repeated when its Job has gone: once a day, the data may be mended."""


def build_preflight_job(
    meta: Meta, spec: FineTuneSpec, order: PreflightJob, storage: StorageTarget, settings: Settings
) -> Manifest:
    """The Job."""
    preflight, mounts = settings.preflight, data_mounts(spec)
    requests = {"cpu": preflight.cpu, "memory": preflight.memory}
    return build_cpu_job(
        meta,
        name=preflight_name(meta.name, order.revision),
        tags=labels(
            COMPONENT_PREFLIGHT, **{LABEL_FINE_TUNE: meta.name, LABEL_REVISION: order.revision}
        ),
        annotations={ANNOTATION_CHECKS: checks_digest(spec)},
        container=build_cpu_container(
            "preflight", spec, storage, settings, requests=requests, mounts=mounts
        ),
        scratch=preflight.scratch,
        order=order,
        settings=settings,
        mounts=mounts,
        ttlSecondsAfterFinished=TTL_SECONDS,
    )
