"""What a process of the worker holds on its GPU."""

import torch

MIB = 1 << 20


def gpu_peak_mib() -> int | None:
    """Most that torch's allocator ever reserved on the current GPU, in MiB; None on the CPU.

    Reserved, not allocated: the memory between blocks is as unavailable to anybody else.
    """
    if not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_reserved() // MIB)


def gpu_total_mib() -> int | None:
    """What the current GPU has in all, in MiB; None on the CPU."""
    if not torch.cuda.is_available():
        return None
    return int(torch.cuda.mem_get_info()[1] // MIB)
