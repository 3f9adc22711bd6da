"""Errors by name: exit codes, memory hints, texts that fit."""

import errno
from typing import Any

import pytest

from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.failures import (
    classify,
    is_disk_full,
    is_out_of_memory,
    memory_hint,
)
from support.train_jobs import train_job


class OutOfMemoryError(RuntimeError):
    """Named like torch's."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (OutOfMemoryError("Tried to allocate 2 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_recognised(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


@pytest.mark.parametrize(
    ("longest", "hint"),
    [
        (160, "Lower dataset.maxSequenceLength from 160 to 80."),
        (168, "Lower dataset.maxSequenceLength from 160 to 80."),  # filled up to multiples of 8
        (70, "Lower dataset.maxSequenceLength from 160 to 35 (the longest row has 70 tokens)."),
        (40, "Ask for a GPU with more memory."),
    ],
)
def test_a_limit_above_the_longest_row_is_no_advice(longest: int, hint: str) -> None:
    job = train_job(
        **{
            "hyperparameters.micro_batch_size": 1,
            "hyperparameters.gradient_checkpointing": True,
            "adapter.quantized": True,
        }
    )
    assert memory_hint(job, longest) == hint


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        (
            {
                "hyperparameters.micro_batch_size": 8,
                "hyperparameters.gradient_accumulation_steps": 2,
            },
            "Set hyperparameters.gradientCheckpointing to true, or lower "
            "hyperparameters.microBatchSize from 8 to 4, or lower dataset.maxSequenceLength from "
            "160 to 80, or set failurePolicy.allowQuantization to true, or set adapter.type to "
            "QLoRA.",
        ),
        (
            {
                "hyperparameters.micro_batch_size": 5,
                "hyperparameters.gradient_accumulation_steps": 3,
                "hyperparameters.gradient_checkpointing": True,
                "adapter.quantized": True,
                "dataset.max_sequence_length": 64,
            },
            "Lower hyperparameters.microBatchSize from 5 to 1.",
        ),
        (
            {
                "hyperparameters.micro_batch_size": 1,
                "hyperparameters.gradient_checkpointing": True,
                "adapter.quantized": True,
                "dataset.max_sequence_length": 64,
            },
            "Ask for a GPU with more memory.",
        ),
    ],
)
def test_the_memory_hint_has_numbers(changes: dict[str, Any], hint: str) -> None:
    assert memory_hint(train_job(**changes)) == hint


def test_unknown_errors_keep_their_words() -> None:
    named = classify(KeyError("lora_A"), train_job(), step=7)
    assert named.reason == Reason.TRAINER_FAILED
    assert named.exit_code == ExitCode.UNEXPECTED
    assert named.message == "KeyError: 'lora_A'"
    assert named.step == 7


def _after(cause: Exception) -> Exception:
    """An error that was raised because of another one."""
    try:
        raise ValueError("cannot write the table") from cause
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        # safetensors' own error class
        (
            Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
            True,
        ),
        (
            RuntimeError(
                "[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed "
                "writing file data/0: file write failed"
            ),
            True,
        ),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"), True),
        (RuntimeError("basic_ios::clear: iostream error"), True),
        (_after(OSError(errno.ENOSPC, "No space left on device")), True),
        (ValueError("shape mismatch"), False),
    ],
)
def test_a_full_disk_is_recognised(error: Exception, expected: bool) -> None:
    assert is_disk_full(error) is expected
    named = classify(error, train_job(), step=4)
    assert (named.reason == Reason.DISK_FULL) is expected
    assert (named.exit_code == ExitCode.DISK_FULL) is expected
    assert named.step == 4


def test_named_errors_stay_what_they_are() -> None:
    error = FailureError(Reason.LOSS_NAN, "loss became nan")
    assert classify(error, train_job()) is error
