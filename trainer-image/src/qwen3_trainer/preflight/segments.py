"""A rendered row as stretches with and without loss, for people. Pure."""

from collections.abc import Callable, Sequence
from itertools import groupby

from qwen3_api.job.preflight import MAX_SEGMENTS, SAMPLE_LIMIT, SampleSegment
from qwen3_api.pod.text import cut


def to_segments(
    ids: Sequence[int], learned: Sequence[bool], decode: Callable[[list[int]], str]
) -> list[SampleSegment]:
    """The first MAX_SEGMENTS stretches of tokens that are all learned or all not.

    If they are longer than SAMPLE_LIMIT characters together, each is cut to an equal part of it:
    a long question must not hide the answer.
    """
    stretches = [
        (decode([token for token, _ in group]), flag)
        for flag, group in groupby(zip(ids, learned, strict=True), key=lambda pair: pair[1])
    ][:MAX_SEGMENTS]
    total = sum(len(text) for text, _ in stretches)
    limit = SAMPLE_LIMIT if total <= SAMPLE_LIMIT else SAMPLE_LIMIT // len(stretches)
    return [SampleSegment(text=cut(text, limit), learned=flag) for text, flag in stretches]
