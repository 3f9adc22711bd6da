"""Time and peaks of torch's allocator; all bytes are 0 on the CPU."""

import gc
import time

import torch

from benchmarks.train.results import Phase


class Measurement:
    """From its creation to `end`."""

    def __init__(self) -> None:
        """Frees what can be freed and forgets earlier peaks."""
        gc.collect()
        self.before = 0
        """Bytes allocated at the start."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self.before = int(torch.cuda.memory_allocated())
        self._begun = time.monotonic()

    def end(self) -> Phase:
        """What it took."""
        seconds = time.monotonic() - self._begun
        if not torch.cuda.is_available():
            return Phase(seconds, 0, 0, 0)
        free, total = torch.cuda.mem_get_info()
        return Phase(
            seconds=seconds,
            allocated=int(torch.cuda.max_memory_allocated()),
            reserved=int(torch.cuda.max_memory_reserved()),
            context=int(total - free - torch.cuda.memory_reserved()),
        )
