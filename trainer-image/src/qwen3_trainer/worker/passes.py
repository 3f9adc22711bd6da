"""Which rows of a step go through the model together, when nothing is padded. Pure."""

import heapq
import math
from collections.abc import Sequence


def token_budget(micro_batch_size: int, longest: int, planned: int | None, alignment: int) -> int:
    """Most tokens of a pass: as many as a padded micro-batch of the longest row has. If another
    length was planned for, of that one, filled up to a multiple of `alignment`: so much memory is
    there, and a row that is longer than the plan knew of is a pass of its own."""
    if planned is not None:
        longest = math.ceil(planned / alignment) * alignment
    return micro_batch_size * longest


def even_passes(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices of rows of `lengths` tokens in passes of at most `budget` tokens, about equal.

    A pass takes the host's time to start its kernels however small it is, so a small rest is waste.
    As few passes as make it this way: the longest row that is left goes to the pass with the fewest
    tokens (Graham's LPT rule). A row longer than the budget is a pass of its own. In a pass the
    longest row is the first.
    """
    rest = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    alone = [[i] for i in rest if lengths[i] > budget]
    rest = rest[len(alone) :]
    count = math.ceil(sum(lengths[i] for i in rest) / budget)
    while rest:
        passes = _spread(lengths, rest, count)
        if max(sum(lengths[i] for i in one) for one in passes) <= budget:
            return alone + passes
        count += 1
    return alone


def _spread(lengths: Sequence[int], rest: Sequence[int], count: int) -> list[list[int]]:
    passes: list[list[int]] = [[] for _ in range(count)]
    fullness = [(0, number) for number in range(count)]
    for i in rest:
        tokens, number = heapq.heappop(fullness)
        passes[number].append(i)
        heapq.heappush(fullness, (tokens + lengths[i], number))
    return passes
