"""Tracking of runs and evaluations in other systems, shared by `Qwen3FineTune` and `Qwen3Eval`.

What is sent there is a copy. Nothing waits for it, and it changes no result."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from qwen3_api.v1alpha1.meta import HttpUrl, KubeModel, LocalObjectReference, Rule

Project = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=128)]
Entity = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=64)]
TraceUrl = Annotated[
    str,
    Field(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$", max_length=253),
]


class WandbMode(StrEnum):
    """Transfer of runs to W&B."""

    ONLINE = "Online"
    OFFLINE = "Offline"


class WandbSpec(KubeModel):
    """Weights & Biases."""

    project: Project
    """project of the run."""
    entity: Entity | None = None
    """entity (user or team); default: the key's."""
    mode: WandbMode = WandbMode.ONLINE
    """mode: Online sends during training; Offline stores the run in the bucket, for `wandb
    sync`."""
    base_url: HttpUrl | None = Field(default=None, alias="baseURL")
    """baseURL of a self-hosted server."""
    secret_ref: LocalObjectReference | None = None
    """secretRef names a Secret of this namespace with WANDB_API_KEY; required with mode Online."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.mode != 'Online' || has(self.secretRef)",
            message="tracking.wandb.secretRef is needed with mode Online",
            check=lambda m: m.mode is not WandbMode.ONLINE or m.secret_ref is not None,
            field_path=".secretRef",
        ),
    )


class WeaveSpec(KubeModel):
    """Weave, the part of W&B that compares evaluations. It has no offline mode."""

    project: Project
    """project of the evaluations."""
    entity: Entity | None = None
    """entity (user or team); default: the key's."""
    base_url: HttpUrl | None = Field(default=None, alias="baseURL")
    """baseURL of a self-hosted W&B server."""
    trace_url: TraceUrl | None = Field(default=None, alias="traceURL")
    """traceURL of its trace server; default: <baseURL>/traces."""
    secret_ref: LocalObjectReference
    """secretRef names a Secret of this namespace with WANDB_API_KEY."""


class TrackingSpec(KubeModel):
    """Tracking of runs and evaluations in other systems."""

    wandb: WandbSpec | None = None
    """wandb run of each revision, and of each evaluation."""
    weave: WeaveSpec | None = None
    """weave evaluations: per suite, one for the target and one for each baseline; for a fine-tune,
    those of spec.evaluation."""
