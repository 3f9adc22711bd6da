"""Rows to token lengths, and the first one as the model will see it."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec

from qwen3_api.job.preflight import SAMPLE_LIMIT, PreflightJob, RenderedSample
from qwen3_api.methods import METHODS, RowKind
from qwen3_api.pod.text import cut
from qwen3_trainer.data.dataset import numbered
from qwen3_trainer.data.formats import Row, RowError
from qwen3_trainer.preflight.blocks import BadRow, NumberedRow, weight_of
from qwen3_trainer.preflight.cores import Cores
from qwen3_trainer.preflight.heaviest import Heaviest
from qwen3_trainer.preflight.lengths import Lengths
from qwen3_trainer.preflight.sample import RowSample
from qwen3_trainer.preflight.segments import to_segments
from qwen3_trainer.preflight.tokenizer import ChatTokenizer
from qwen3_trainer.worker.rendering import (
    IGNORED,
    TrainingTemplate,
    render,
    render_preference,
)

NumberedJSON = tuple[int, bytes]
"""A row's line and the row."""
PART = 256
"""Rows that one process gets at once."""
HEAVY_PART = 8
"""The same of the heaviest rows."""
ALONE_BYTES = 4 << 20
"""Rows of so many bytes, about 2 s of work, are measured without help."""


@dataclass(frozen=True)
class Ruler:
    """What rows are measured with; cheap to send to another process."""

    folder: Path
    """Of the base model's tokenizer."""
    template: TrainingTemplate
    job: PreflightJob


def measure(sample: RowSample, heaviest: Heaviest, ruler: Ruler, cores: Cores) -> Lengths:
    """Lengths of the sampled rows as the trainer renders, cuts and drops them (`worker.tokens`),
    and that of the longest of all. Raises LineError for a row that the template can't write."""
    alone = sample.size <= ALONE_BYTES
    lengths = _measured(_parts(sample.rows(), PART), ruler, None if alone else cores)
    if not sample.is_whole:
        others = _measured(_parts(heaviest.rows(), HEAVY_PART), ruler, cores)
        lengths.bound(others, heaviest.left_out)
    return lengths


def _measured(parts: Iterator[list[NumberedJSON]], ruler: Ruler, cores: Cores | None) -> Lengths:
    lengths = Lengths(ruler.job.dataset.max_sequence_length)
    arguments = ((ruler, part) for part in parts)
    found = (
        (measure_part(*each) for each in arguments)
        if cores is None
        else cores.map(measure_part, arguments)
    )
    for part in found:
        if part.bad is not None:
            raise part.bad.to_error()
        lengths.extend(part.lengths)
    return lengths


def _parts(rows: Iterator[NumberedJSON], size: int) -> Iterator[list[NumberedJSON]]:
    while part := list(islice(rows, size)):
        yield part


@dataclass
class Measured:
    """Lengths of some rows, up to the first that can't be rendered."""

    lengths: Lengths
    bad: BadRow | None = None


def measure_part(ruler: Ruler, rows: list[NumberedJSON]) -> Measured:
    """Lengths of some rows."""
    job, tokenizer, template = ruler.job, open_tokenizer(ruler.folder), ruler.template
    limit, thinking = job.dataset.max_sequence_length, job.dataset.thinking
    lengths = Lengths(limit)
    for number, encoded in rows:
        row = msgspec.json.decode(encoded)
        weight = weight_of(row, encoded)
        try:
            if METHODS[job.method].rows is RowKind.PREFERENCE:
                prompt, chosen, rejected = render_preference(row, tokenizer, template, thinking)
                length = len(prompt) + max(len(chosen), len(rejected))
                lengths.add(length, weight, learnable=len(prompt) < limit)
            else:
                ids, labels = render(row, tokenizer, template, job.assistant_only_loss, thinking)
                learnable = any(label != IGNORED for label in labels[:limit])
                lengths.add(len(ids), weight, learnable=learnable)
        except RowError as error:
            return Measured(lengths, BadRow(number, str(error), "line", error.hint))
    return Measured(lengths)


@functools.cache
def open_tokenizer(folder: Path) -> ChatTokenizer:
    """The tokenizer of a folder, opened once in a process. Raises ValueError."""
    return ChatTokenizer(folder)


def render_sample(first: NumberedRow, ruler: Ruler) -> RenderedSample:
    """A row's text within max_sequence_length and its parts with loss. Raises LineError."""
    with numbered(first.number):
        return _rendered(first.row, ruler)


def _rendered(row: Row, ruler: Ruler) -> RenderedSample:
    job, tokenizer, template = ruler.job, open_tokenizer(ruler.folder), ruler.template
    limit, thinking = job.dataset.max_sequence_length, job.dataset.thinking
    if METHODS[job.method].rows is RowKind.PREFERENCE:
        prompt, *answers = render_preference(row, tokenizer, template, thinking)
        dialogues = [
            ([*prompt, *ids], [False] * len(prompt) + [True] * len(ids)) for ids in answers
        ]
    else:
        ids, labels = render(row, tokenizer, template, job.assistant_only_loss, thinking)
        dialogues = [(ids, [label != IGNORED for label in labels])]
    ids, mask = dialogues[0][0][:limit], dialogues[0][1][:limit]
    segments = [to_segments(i[:limit], m[:limit], tokenizer.decode) for i, m in dialogues]
    learned = [token for token, kept in zip(ids, mask, strict=True) if kept]
    return RenderedSample(
        text=cut(tokenizer.decode(ids), SAMPLE_LIMIT),
        learned=cut(tokenizer.decode(learned), SAMPLE_LIMIT),
        segments=segments[0],
        rejected_segments=segments[1] if len(segments) > 1 else [],
    )
