"""Supervised fine-tuning: the loss is the cross-entropy of answers."""

from typing import TYPE_CHECKING

from qwen3_api.methods.base import Costs, Method, RowKind
from qwen3_api.v1alpha1.meta import KubeModel

if TYPE_CHECKING:
    from qwen3_api.job.train import TrainJob


class SFTSpec(KubeModel):
    """Supervised fine-tuning."""

    assistant_only_loss: bool = True
    """assistantOnlyLoss computes the loss on the assistant's turns only."""


def _loss_on(job: "TrainJob") -> str:
    return "the assistant's turns" if job.hyperparameters.assistant_only_loss else "all tokens"


SFT = Method(
    name="SFT",
    rows=RowKind.CONVERSATION,
    costs=Costs(padding_free=True),
    describe=lambda _: "SFT",
    loss_on=_loss_on,
    settings=SFTSpec,
)
