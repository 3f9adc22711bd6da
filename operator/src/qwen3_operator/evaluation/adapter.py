"""An evaluation whose adapter has to be loaded first. Pure."""

from dataclasses import dataclass

from qwen3_api.serving.pool import PoolIndex
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.evaluation.target import explain_loading
from qwen3_operator.serving.adapter import PERMANENT_HINT, Guest, capacity, is_full
from qwen3_operator.serving.views import PERMANENT, PoolView, find_refusal
from qwen3_operator.settings import Settings

TRANSIENT = (Reason.ADAPTER_NOT_FOUND, Reason.POOL_FULL)
"""Problems that resolve without a change of the evaluation."""


@dataclass(frozen=True)
class GuestView:
    """The adapter of an evaluation and its pool."""

    found: Guest | FailureStatus
    pool: PoolView | None = None
    index: PoolIndex | None = None
    """What the pool's sidecars are told."""


def find_waiting(view: GuestView, settings: Settings) -> FailureStatus | str | None:
    """The failure that keeps the adapter from being asked, or what is waited for; None: nothing."""
    guest = view.found
    if isinstance(guest, FailureStatus):
        return guest
    adapter = guest.adapter
    refused = find_refusal(view.pool, adapter.id) if view.pool is not None else None
    if refused is not None:
        return refused.with_changes(hint=f"This adapter can't be served. {PERMANENT_HINT}")
    if is_full(view.index, adapter.id, settings):
        return FailureStatus.of(
            Reason.POOL_FULL,
            f"pool {guest.pool} holds {capacity(settings)} adapters, its maximum",
            "Delete a fine-tune or an evaluation that uses it, or ask the platform team to raise "
            "serving.maxCpuLoras. The evaluation then continues automatically.",
            retriable=True,
        )
    return explain_loading(adapter.id, view.pool, adapter.id, adapter.digest)


def is_permanent(problem: FailureStatus) -> bool:
    """Nothing changes while evaluation and files stay as they are."""
    if problem.reason in TRANSIENT:
        return False
    return problem.user or problem.reason in PERMANENT
