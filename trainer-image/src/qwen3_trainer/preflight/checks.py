"""Thresholds to failures. Pure."""

from collections.abc import Sequence

from qwen3_api.job.preflight import ModelShape, PreflightJob
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.preflight.lengths import Lengths
from qwen3_trainer.window import require_window

_SHOWN_LINES = 5


def check_leakage(job: PreflightJob, validation_rows: int, leaked: Sequence[int]) -> None:
    """Raises FailureError: DatasetLeakage, if the order doesn't let it pass. `leaked` are line
    numbers of the validation data."""
    if not leaked or not job.checks.fail_on_leakage:
        return
    shown = ", ".join(str(number) for number in leaked[:_SHOWN_LINES])
    more = ", …" if len(leaked) > _SHOWN_LINES else ""
    raise FailureError(
        Reason.DATASET_LEAKAGE,
        f"{len(leaked)} of {validation_rows} validation rows are training rows too "
        f"(validation data, line {shown}{more}): the validation loss would be too good",
        "Remove them from dataset.train or dataset.validation, or set "
        "dataset.checks.failOnLeakage to false.",
    )


def warn_of_mixed_reasoning(job: PreflightJob, rows: int, reasoning_rows: int) -> list[str]:
    """What stops no run, but is seldom meant: some rows with reasoning, some without."""
    if job.dataset.thinking != "AsInData" or reasoning_rows in (0, rows):
        return []
    return [
        f"{reasoning_rows} of {rows} training rows have reasoning in their last answer; the others "
        "teach an empty think block. If that isn't meant, set dataset.chatTemplate.thinking to "
        "Disabled, which learns answers only, or to Enabled, which refuses rows without reasoning."
    ]


def warn_of_odd_roles(rows: int, late_system_rows: int, unanswered_rows: int) -> list[str]:
    """What stops no run, but is seldom meant: orders of roles that the chat template writes."""
    warnings = []
    if late_system_rows:
        warnings.append(
            f"{late_system_rows} of {rows} training rows have a system message behind another "
            "message; most clients send one only at the beginning."
        )
    if unanswered_rows:
        warnings.append(
            f"{unanswered_rows} of {rows} training rows don't end in an assistant's answer: what "
            "follows their last answer takes up tokens and teaches no answer."
        )
    return warnings


def check_duplicates(job: PreflightJob, rows: int, duplicates: int) -> None:
    """Raises FailureError: DatasetCheckFailed."""
    allowed = job.checks.max_duplicate_percent
    if allowed is None or 100 * duplicates <= allowed * rows:
        return
    raise FailureError(
        Reason.DATASET_CHECK_FAILED,
        f"{100 * duplicates / rows:.2f} % of {rows} training rows repeat another one ({allowed} % "
        "are allowed)",
        "Remove the repetitions from dataset.train, or raise dataset.checks.maxDuplicatePercent.",
    )


def check_window(job: PreflightJob, shape: ModelShape) -> None:
    """Raises FailureError: InvalidSpec, if rows may be longer than the base model's window."""
    if shape.max_position_embeddings is not None:
        length = job.dataset.max_sequence_length
        require_window(job.base_model.name, length, shape.max_position_embeddings)


def check_lengths(job: PreflightJob, lengths: Lengths) -> None:
    """Raises FailureError: DatasetCheckFailed."""
    counted, limit = len(lengths.counts), job.dataset.max_sequence_length
    of = f"of {counted} rows that were counted"
    allowed = job.checks.max_dropped_percent
    if lengths.dropped_percent > allowed or lengths.dropped == counted:
        raise FailureError(
            Reason.DATASET_CHECK_FAILED,
            f"{lengths.dropped_percent:.2f} % {of} have nothing to learn left within {limit} "
            f"tokens: their prompts alone are as long ({allowed} % are allowed)",
            _longer(lengths, "dataset.checks.maxDroppedPercent"),
        )
    allowed = job.checks.max_truncated_percent
    if lengths.truncated_percent > allowed:
        raise FailureError(
            Reason.DATASET_CHECK_FAILED,
            f"{lengths.truncated_percent:.2f} % {of} are longer than {limit} tokens and would be "
            f"cut ({allowed} % are allowed)",
            _longer(lengths, "dataset.checks.maxTruncatedPercent"),
        )


def _longer(lengths: Lengths, field: str) -> str:
    told = lengths.histogram()
    return (
        f"Raise dataset.maxSequenceLength (95 % of the rows have at most {told.p95} tokens, the "
        f"longest {told.maximum}), shorten the rows, or raise {field}."
    )
