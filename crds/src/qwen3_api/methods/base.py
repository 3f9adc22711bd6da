"""The declaration of a training method, as read by API, planner, trainer and model card."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from qwen3_api.job.base import Document
from qwen3_api.v1alpha1.meta import KubeModel

if TYPE_CHECKING:  # the job spec has the sections that methods declare
    from qwen3_api.job.train import TrainJob


class RowKind(StrEnum):
    """Kind of row that a method trains on; it determines how a row is rendered and measured."""

    CONVERSATION = "Conversation"
    """A dialogue; the loss is on its answers, or on all tokens."""
    PREFERENCE = "Preference"
    """A prompt with a chosen and a rejected answer; the loss is on both answers."""


@dataclass(frozen=True)
class Costs:
    """Memory and time factors of a training step, relative to one sequence per row."""

    sequences_per_row: int = 1
    """Sequences per row of the dataset in a micro-batch."""
    reference: bool = False
    """Whether a frozen copy of the initial adapter is kept in fp32, with a forward pass for each
    micro-batch."""
    padding_free: bool = False
    """Whether the trainer can concatenate the rows of a batch
    (docs/adr/0044-without-padding.md)."""


@dataclass(frozen=True)
class Method:
    """A training method. Its trainer is `qwen3_trainer.methods.<key>`."""

    name: str
    """As in spec.method.type."""
    rows: RowKind
    costs: Costs
    describe: Callable[["TrainJob"], str]
    """Name and settings, for the model card."""
    loss_on: Callable[["TrainJob"], str]
    """Tokens that the loss is computed on, for the model card."""
    settings: type[KubeModel] | None = None
    """spec.method.<key>; None: the method has no settings."""
    decimals: tuple[str, ...] = ()
    """Decimal fields, as on the wire: 0.10 and 1e-1 are the same setting."""
    resolve: Callable[[Any], Document] | None = None
    """Settings to the section <key> of `TrainJob`; None: the job spec has no such section."""

    @property
    def key(self) -> str:
        """Name of its fields in spec.method and in `TrainJob`, and of its module in the trainer."""
        return self.name.lower()
