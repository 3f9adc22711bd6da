"""The processes of one worker: one, or one per GPU under torchrun, which have to act as one.

Agreement goes over gloo on the CPU, whatever carries the gradients: asking whether to stop at each
step must not wait for the GPU.
"""

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

PATIENCE = timedelta(days=7)
"""How long one process waits for another: a stall is the parent's to tell."""


def rank() -> int:
    """Which of the processes this is; 0 speaks for all."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _numbered_cpu(storage: Any, location: str) -> Any:
    """accelerate calls the CPU of a process cpu:<rank>, and transformers loads the optimizer's
    state there; torch.load knows only cpu."""
    return storage if location.startswith("cpu:") else None


class Ranks:
    """Agreement between the processes. Every method is called by all of them, in the same order."""

    def __init__(self) -> None:
        self._group: Any = None
        if world_size() > 1:
            torch.serialization.register_package(11, lambda _: None, _numbered_cpu)
            # The default group is there as soon as the trainer's arguments are.
            self._group = dist.new_group(backend="gloo", timeout=PATIENCE)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in at least one process."""
        return bool(self.highest(int(flag)))

    def highest(self, value: int) -> int:
        """The highest of the processes' values."""
        if self._group is None:
            return value
        shared = torch.tensor([value], dtype=torch.int64)
        dist.all_reduce(shared, op=dist.ReduceOp.MAX, group=self._group)
        return int(shared.item())

    def wait(self) -> None:
        """Returns once all of them are here."""
        if self._group is not None:
            dist.barrier(group=self._group)


def leave() -> None:
    """Ends the process groups, after the last message."""
    if dist.is_initialized():
        dist.destroy_process_group()
