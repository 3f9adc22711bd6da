"""Rows in a ConfigMap, which the pod mounts."""

from typing import Annotated, Literal

from pydantic import Field

from qwen3_api.data_sources.base import Source
from qwen3_api.job import layout
from qwen3_api.job.base import Document, S3Location
from qwen3_api.v1alpha1.meta import ATOMIC, DnsSubdomain, KubeModel


class ConfigMapKey(KubeModel):
    """A key of a ConfigMap in this namespace."""

    model_config = ATOMIC

    name: DnsSubdomain
    """name of the ConfigMap."""
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)] = "train.jsonl"
    """key that holds the rows, one JSON object per line."""


class FileData(Document):
    """A mounted file of JSONL rows (a ConfigMap)."""

    type: Literal["File"] = "File"
    path: str
    source: str
    """Source for messages: `ConfigMap name, key key`."""

    @property
    def name(self) -> str:
        """Source for messages."""
        return self.source


def _resolve(value: ConfigMapKey, role: str, _storage: S3Location) -> FileData:
    return FileData(
        path=f"{layout.CONFIG_MAP_DATA}/{role}/{value.key}",
        source=f"ConfigMap {value.name}, key {value.key}",
    )


CONFIG_MAP = Source(type="ConfigMap", field="config_map", resolve=_resolve)
