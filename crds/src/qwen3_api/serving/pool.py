"""Operator to sidecar: `PoolIndex`, `CurrentAlias`. Sidecar to operator: `AgentStatus`.

The operator writes the index into the bucket; each sidecar polls it, loads what it names, and
answers `GET /status` on its own port. Neither needs the other to be up.
"""

import json
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from qwen3_api.job.base import Document, FileDigest, S3Location, Sha256

VLLM_PORT = 8000
"""OpenAI routes; the only port of the Service."""
AGENT_PORT = 8001
"""Sidecar: /ready, /status, /healthz, /metrics."""

ModelId = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=160)
]
Alias = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=120)
]


class PoolAdapter(Document):
    """An adapter that every pod of the pool must hold."""

    id: ModelId
    digest: Sha256
    location: S3Location
    """Folder with exactly `files`."""
    files: list[FileDigest]
    rank: int
    required: bool
    """True: a pod is unready without it (it is behind a public name). False: a candidate."""
    enable_thinking: bool | None = None
    """The chat template's enable_thinking for requests that don't specify it: what the adapter was
    trained for. None: the template's own default."""


class PoolCanary(Document):
    """A share of a public name's requests that goes to another adapter."""

    id: ModelId
    """Among the index's adapters."""
    weight_percent: Annotated[int, Field(ge=1, le=99)]
    """Share of the alias's requests, drawn at random per request."""


class PoolIndex(Document):
    """`index.json`: the desired adapters of a pool, written by the operator."""

    contract: Literal[1] = 1
    namespace: str
    pool: str
    base_model: str
    """Served name of the base model."""
    max_rank: int
    adapters: list[PoolAdapter] = Field(max_length=256)
    aliases: dict[Alias, ModelId]
    """Public name to id. Every id is among `adapters` and required."""
    canaries: dict[Alias, PoolCanary] = {}
    """By public names among `aliases`. A pod that hasn't loaded the canary's adapter ignores it."""
    serial: int
    """Incremented with every write."""

    def to_json(self) -> bytes:
        """The document without empty `canaries` and `enable_thinking`: older sidecars reject these
        fields, and keep running after an operator upgrade until their pods are replaced."""
        document = self.model_dump(mode="json")
        if not self.canaries:
            del document["canaries"]
        for adapter in document["adapters"]:
            if adapter["enable_thinking"] is None:
                del adapter["enable_thinking"]
        return json.dumps(document, indent=1, ensure_ascii=False).encode()


class AliasCanary(Document):
    """A candidate that answers a share of the requests."""

    revision: str
    id: ModelId
    digest: Sha256
    step: int
    """Index into serving.rollout.canarySteps."""
    since: str
    """Start of this step. RFC 3339, UTC."""


class AliasRejection(Document):
    """A candidate that was rolled back as a canary."""

    revision: str
    rejected: str
    """RFC 3339, UTC."""
    message: Annotated[str, StringConstraints(max_length=1024)]
    limits: Annotated[str, StringConstraints(max_length=64)] | None = None
    """Digest of the serving.rollout.autoRollback that it violated: it is tried again after a
    change. None, as written by earlier operators: never automatically."""


class CurrentAlias(Document):
    """`current.json`: the adapter behind a public name. Updated only with If-Match."""

    contract: Literal[1] = 1
    alias: Alias
    owner_uid: str
    """uid of the Qwen3FineTune that owns the name."""
    owner_name: str
    revision: str
    id: ModelId
    digest: Sha256
    promoted: str
    """RFC 3339, UTC."""
    previous_id: ModelId | None = None
    """Previous adapter of the name; kept loaded until it has drained."""
    previous_revision: str | None = None
    move: Literal["Promoted", "RolledBack", "Forced"] = "Promoted"
    eval_name: Annotated[str, StringConstraints(max_length=63)] | None = None
    """The Qwen3Eval that it passed."""
    message: Annotated[str, StringConstraints(max_length=1024)] = ""
    canary: AliasCanary | None = None
    rejection: AliasRejection | None = None
    """The last rollback of a canary; removed with the next promotion."""


AdapterState = Literal["Pending", "Pulling", "Loading", "Loaded", "Failed"]


class AgentAdapter(Document):
    """One adapter on one pod."""

    id: ModelId
    digest: str
    """Digest of the files that this sidecar verified and loaded ("" before)."""
    state: AdapterState
    reason: str = ""
    """If Failed: ArtifactCorrupt, ArtifactRefused, LoadFailed, StorageDenied, …"""
    message: Annotated[str, StringConstraints(max_length=512)] = ""


class Traffic(Document):
    """Requests of one side of a canary on one pod, since the pod started to route this canary."""

    requests: int = 0
    """Finished requests."""
    errors: int = 0
    """Requests answered with 5xx or aborted by the server; requests aborted by the client don't
    count."""
    seconds: float = 0.0
    """Sum of the times to first byte."""


class AgentCanary(Document):
    """A canary as routed by a pod, with its traffic."""

    id: ModelId
    weight_percent: int
    canary: Traffic
    stable: Traffic
    """Requests of the alias that went to its adapter in the same period."""


class AgentStatus(Document):
    """Body of `GET /status` of a sidecar."""

    contract: Literal[1] = 1
    pod: str
    ready: bool
    """vLLM is healthy and every required adapter of the index is loaded, now."""
    serial: int
    """Serial of the index this pod has applied (0: none yet)."""
    adapters: list[AgentAdapter] = Field(max_length=512)
    aliases: dict[Alias, ModelId]
    """Public names that this pod is answering."""
    canaries: dict[Alias, AgentCanary] = {}
    """Canaries that this pod is routing, by public name."""
    message: str = ""
