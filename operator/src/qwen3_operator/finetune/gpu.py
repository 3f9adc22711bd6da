"""The GPU that a fine-tune is planned for, and its price."""

from dataclasses import dataclass, replace
from decimal import Decimal

from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_operator.resources.labels import LABEL_GPU_PRODUCT
from qwen3_operator.settings import GPUSettings, Settings
from qwen3_sizing.gpus import CARDS, Card


def resolve_gpu_product(spec: FineTuneSpec, settings: Settings) -> str | None:
    """The card to plan for: the user's by either field, else the platform's first."""
    listed = settings.training.gpus
    return named_gpu_product(spec) or (listed[0].product if listed else None)


def named_gpu_product(spec: FineTuneSpec) -> str | None:
    """The card that the user names: by its own field, else by the node label."""
    resources = spec.resources
    return resources.gpu_product or resources.node_selector.get(LABEL_GPU_PRODUCT) or None


UNKNOWN_CARD = Card("an unknown GPU, assumed to have 24 GiB", 24 * 1024, 60.0)
"""When neither the user nor the platform says which: the smallest that data centres use."""


@dataclass(frozen=True)
class Price:
    """Of one GPU hour."""

    per_hour: Decimal
    currency: str

    def of(self, gpu_seconds: int) -> str:
        """The cost of GPU seconds, like "12.34 USD"."""
        return f"{self.per_hour * gpu_seconds / 3600:.2f} {self.currency}"


def resolve_card(spec: FineTuneSpec, settings: Settings) -> Card | None:
    """The card to plan for, with what the platform says of it; None on the CPU."""
    if spec.resources.gpus == 0 or settings.training.allow_cpu:
        return None
    own = _own_gpu(spec, settings)
    known = CARDS.get(resolve_gpu_product(spec, settings) or "", UNKNOWN_CARD)
    if own is None:
        return known
    return replace(
        known,
        name=own.product,
        memory_mib=int(own.memory_gib * 1024) if own.memory_gib else known.memory_mib,
        tflops=own.tflops or known.tflops,
    )


def resolve_price(spec: FineTuneSpec, settings: Settings) -> Price | None:
    """What an hour of the card costs; None where the platform's list doesn't say."""
    own = _own_gpu(spec, settings)
    if own is None or own.price_per_hour is None or spec.resources.gpus == 0:
        return None
    return Price(own.price_per_hour, settings.training.currency)


def _own_gpu(spec: FineTuneSpec, settings: Settings) -> GPUSettings | None:
    product = resolve_gpu_product(spec, settings)
    return next((g for g in settings.training.gpus if g.product == product), None)
