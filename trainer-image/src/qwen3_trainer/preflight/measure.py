"""Rows to token lengths, and the first one as the model will see it."""

from collections.abc import Iterable

from qwen3_api.job.preflight import PreflightJob, RenderedSample
from qwen3_trainer.data.formats import Row
from qwen3_trainer.failures import cut
from qwen3_trainer.preflight.lengths import Lengths
from qwen3_trainer.preflight.tokenizer import ChatTokenizer
from qwen3_trainer.worker.rendering import (
    IGNORED,
    TrainingTemplate,
    render,
    render_preference,
)

SAMPLE_LIMIT = 4096
"""Longest text of a RenderedSample, in characters."""


def measure(
    rows: Iterable[Row], tokenizer: ChatTokenizer, template: TrainingTemplate, job: PreflightJob
) -> Lengths:
    """Lengths of the rows as the trainer renders, cuts and drops them (`worker.tokens`)."""
    limit = job.dataset.max_sequence_length
    lengths = Lengths(limit)
    for row in rows:
        if job.method == "DPO":
            prompt, chosen, rejected = render_preference(
                row, tokenizer, template, job.dataset.thinking
            )
            length = len(prompt) + max(len(chosen), len(rejected))
            lengths.add(length, learnable=len(prompt) < limit)
        else:
            ids, labels = render(
                row, tokenizer, template, job.assistant_only_loss, job.dataset.thinking
            )
            learnable = any(label != IGNORED for label in labels[:limit])
            lengths.add(len(ids), learnable=learnable)
    return lengths


def render_sample(
    row: Row, tokenizer: ChatTokenizer, template: TrainingTemplate, job: PreflightJob
) -> RenderedSample:
    """A row's text within max_sequence_length and its part with loss."""
    limit = job.dataset.max_sequence_length
    if job.method == "DPO":
        prompt, chosen, _ = render_preference(row, tokenizer, template, job.dataset.thinking)
        ids, learned = [*prompt, *chosen][:limit], chosen[: max(0, limit - len(prompt))]
    else:
        ids, labels = render(
            row, tokenizer, template, job.assistant_only_loss, job.dataset.thinking
        )
        ids, learned = ids[:limit], [label for label in labels[:limit] if label != IGNORED]
    return RenderedSample(
        text=cut(tokenizer.decode(ids), SAMPLE_LIMIT),
        learned=cut(tokenizer.decode(learned), SAMPLE_LIMIT),
    )
