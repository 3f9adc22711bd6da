"""Rows to token lengths, and the first one as the model will see it."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec

from qwen3_api.job.preflight import PreflightJob, RenderedSample
from qwen3_trainer.data.formats import Row, RowError
from qwen3_trainer.data.read import LineError
from qwen3_trainer.failures import cut
from qwen3_trainer.preflight.blocks import BadRow, NumberedRow
from qwen3_trainer.preflight.cores import Cores
from qwen3_trainer.preflight.lengths import Lengths
from qwen3_trainer.preflight.sample import RowSample
from qwen3_trainer.preflight.tokenizer import ChatTokenizer
from qwen3_trainer.worker.rendering import (
    IGNORED,
    TrainingTemplate,
    render,
    render_preference,
)

PART = 256
"""Rows that one process gets at once."""
ALONE_BYTES = 4 << 20
"""Rows of so many bytes, about 2 s of work, are measured without help."""
SAMPLE_LIMIT = 4096
"""Longest text of a RenderedSample, in characters."""


@dataclass(frozen=True)
class Ruler:
    """What rows are measured with; cheap to send to another process."""

    folder: Path
    """Of the base model's tokenizer."""
    template: TrainingTemplate
    job: PreflightJob


def measure(sample: RowSample, ruler: Ruler, cores: Cores) -> Lengths:
    """Lengths of the rows as the trainer renders, cuts and drops them (`worker.tokens`). Raises
    LineError for a row that the template can't write."""
    lengths = Lengths(ruler.job.dataset.max_sequence_length)
    parts = ((ruler, part) for part in _parts(sample.rows()))
    found = (
        cores.map(measure_part, parts)
        if sample.size > ALONE_BYTES
        else (measure_part(*part) for part in parts)
    )
    for part in found:
        if part.bad is not None:
            raise part.bad.to_error()
        lengths.counts += part.lengths.counts
        lengths.dropped += part.lengths.dropped
    return lengths


def _parts(rows: Iterator[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    while part := list(islice(rows, PART)):
        yield part


@dataclass
class Measured:
    """Lengths of some rows, up to the first that can't be rendered."""

    lengths: Lengths
    bad: BadRow | None = None


def measure_part(ruler: Ruler, rows: list[tuple[int, bytes]]) -> Measured:
    """Lengths of some rows."""
    job, tokenizer, template = ruler.job, open_tokenizer(ruler.folder), ruler.template
    limit, thinking = job.dataset.max_sequence_length, job.dataset.thinking
    lengths = Lengths(limit)
    for number, encoded in rows:
        row = msgspec.json.decode(encoded)
        try:
            if job.method == "DPO":
                prompt, chosen, rejected = render_preference(row, tokenizer, template, thinking)
                length = len(prompt) + max(len(chosen), len(rejected))
                lengths.add(length, learnable=len(prompt) < limit)
            else:
                ids, labels = render(row, tokenizer, template, job.assistant_only_loss, thinking)
                learnable = any(label != IGNORED for label in labels[:limit])
                lengths.add(len(ids), learnable=learnable)
        except RowError as error:
            return Measured(lengths, BadRow(number, str(error), "line", error.hint))
    return Measured(lengths)


@functools.cache
def open_tokenizer(folder: Path) -> ChatTokenizer:
    """The tokenizer of a folder, opened once in a process. Raises ValueError."""
    return ChatTokenizer(folder)


def render_sample(first: NumberedRow, ruler: Ruler) -> RenderedSample:
    """A row's text within max_sequence_length and its part with loss. Raises LineError."""
    try:
        return _rendered(first.row, ruler)
    except RowError as error:
        raise LineError(first.number, str(error)) from error


def _rendered(row: Row, ruler: Ruler) -> RenderedSample:
    job, tokenizer, template = ruler.job, open_tokenizer(ruler.folder), ruler.template
    limit, thinking = job.dataset.max_sequence_length, job.dataset.thinking
    if job.method == "DPO":
        prompt, chosen, _ = render_preference(row, tokenizer, template, thinking)
        ids, learned = [*prompt, *chosen][:limit], chosen[: max(0, limit - len(prompt))]
    else:
        ids, labels = render(row, tokenizer, template, job.assistant_only_loss, thinking)
        ids, learned = ids[:limit], [label for label in labels[:limit] if label != IGNORED]
    return RenderedSample(
        text=cut(tokenizer.decode(ids), SAMPLE_LIMIT),
        learned=cut(tokenizer.decode(learned), SAMPLE_LIMIT),
    )
