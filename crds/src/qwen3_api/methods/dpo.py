"""Direct preference optimization: raises the likelihood of the chosen answer over the rejected one,
relative to the reference model."""

from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from qwen3_api.job.base import Document
from qwen3_api.methods.base import Costs, Method, RowKind
from qwen3_api.v1alpha1.meta import KubeModel
from qwen3_api.v1alpha1.numbers import PositiveDecimalString

if TYPE_CHECKING:
    from qwen3_api.job.train import TrainJob


class DPOLoss(StrEnum):
    """Loss of direct preference optimization (TRL loss_type)."""

    SIGMOID = "Sigmoid"
    IPO = "IPO"
    HINGE = "Hinge"


class DPOSpec(KubeModel):
    """Direct preference optimization."""

    beta: PositiveDecimalString = "0.1"
    """beta (TRL beta): strength of the KL penalty towards the reference model."""
    loss_type: DPOLoss = DPOLoss.SIGMOID
    """lossType: Sigmoid (as in the DPO paper), IPO or Hinge."""


class JobDPO(Document):
    """DPOConfig of TRL."""

    beta: float
    loss_type: Literal["sigmoid", "ipo", "hinge"]


def _resolve(settings: DPOSpec) -> JobDPO:
    return JobDPO.model_validate(
        {"beta": float(settings.beta), "loss_type": settings.loss_type.lower()}
    )


def _describe(job: "TrainJob") -> str:
    if job.dpo is None:
        return "DPO"
    return f"DPO (beta {job.dpo.beta}, {job.dpo.loss_type} loss)"


DPO = Method(
    name="DPO",
    rows=RowKind.PREFERENCE,
    costs=Costs(sequences_per_row=2, reference=True),
    describe=_describe,
    loss_on=lambda _: "the answers",
    settings=DPOSpec,
    decimals=("beta",),
    resolve=_resolve,
)
