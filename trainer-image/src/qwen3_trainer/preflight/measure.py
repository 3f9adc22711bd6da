"""Rows to token lengths, and the first one as the model will see it."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from qwen3_api.job.preflight import SAMPLE_LIMIT, PreflightJob, RenderedSample
from qwen3_api.pod.text import cut
from qwen3_trainer.data.dataset import numbered
from qwen3_trainer.data.rows import Row, RowError, decode_row
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
    render_row,
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
    """The means to measure rows; cheap to send to another process."""

    folder: Path
    """Folder of the base model's tokenizer."""
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
        row = decode_row(encoded)
        weight = weight_of(row, encoded)
        try:
            sequences = render_row(row, tokenizer, template, job.assistant_only_loss, thinking)
        except RowError as error:
            return Measured(lengths, BadRow(number, str(error), "line", error.hint))
        learnable = any(label != IGNORED for each in sequences for label in each.labels[:limit])
        lengths.add(max(len(each.ids) for each in sequences), weight, learnable=learnable)
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
    sequences = render_row(row, tokenizer, template, job.assistant_only_loss, thinking)
    ids, labels = sequences[0].ids[:limit], sequences[0].labels[:limit]
    segments = [
        to_segments(s.ids[:limit], [n != IGNORED for n in s.labels[:limit]], tokenizer.decode)
        for s in sequences
    ]
    learned = [label for label in labels if label != IGNORED]
    return RenderedSample(
        text=cut(tokenizer.decode(ids), SAMPLE_LIMIT),
        learned=cut(tokenizer.decode(learned), SAMPLE_LIMIT),
        segments=segments[0],
        rejected_segments=segments[1] if len(segments) > 1 else [],
    )
