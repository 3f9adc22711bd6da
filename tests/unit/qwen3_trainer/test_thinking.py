"""What a thinking policy does to rows."""

from typing import Any

import pytest

from qwen3_trainer.data.rows import RowError
from qwen3_trainer.data.thinking import apply_thinking
from support.rows import to_row

USER = {"role": "user", "content": "2 * 3"}
PLAIN = {"role": "assistant", "content": "6"}
REASONED = {"role": "assistant", "content": "6", "reasoning_content": "two threes"}
INLINE = {"role": "assistant", "content": "<think>\ntwo threes\n</think>\n\n6"}
EMPTY = {"role": "assistant", "content": "<think>\n\n</think>\n\n6"}
BLANK = {**PLAIN, "reasoning_content": " \n"}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]}


@pytest.mark.parametrize("answer", [PLAIN, REASONED, INLINE, EMPTY])
def test_as_in_data_changes_nothing(answer: dict[str, Any]) -> None:
    row = to_row({"messages": [USER, answer]})
    assert apply_thinking(row, "AsInData") == row


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, REASONED]},
        {"messages": [USER, PLAIN, USER, INLINE]},
        {"messages": [USER, REASONED, USER]},
        {"prompt": [USER, PLAIN, USER], "completion": [INLINE]},
        {"prompt": [USER], "chosen": [REASONED], "rejected": [INLINE]},
    ],
)
def test_enabled_keeps_rows_whose_last_answer_reasons(row: dict[str, Any]) -> None:
    assert apply_thinking(to_row(row), "Enabled") == to_row(row)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"messages": [USER, PLAIN]}, "the last answer"),
        ({"messages": [USER, EMPTY]}, "the last answer"),
        ({"messages": [USER, BLANK]}, "the last answer"),
        ({"messages": [USER, REASONED, USER, PLAIN]}, "the last answer"),
        ({"prompt": [USER, REASONED, USER], "completion": [PLAIN]}, "the last answer"),
        ({"prompt": [USER], "chosen": [PLAIN], "rejected": [INLINE]}, "chosen: the last answer"),
        (
            {"prompt": [USER], "chosen": [REASONED], "rejected": [EMPTY]},
            "rejected: the last answer",
        ),
    ],
)
def test_enabled_refuses_rows_without_reasoning(row: dict[str, Any], problem: str) -> None:
    with pytest.raises(RowError) as caught:
        apply_thinking(to_row(row), "Enabled")
    assert str(caught.value) == f"{problem} has no reasoning"
    assert "dataset.chatTemplate.thinking" in caught.value.hint


@pytest.mark.parametrize("answer", [PLAIN, REASONED, INLINE, EMPTY])
def test_disabled_leaves_reasoning_out(answer: dict[str, Any]) -> None:
    for names in (("messages",), ("prompt", "completion"), ("prompt", "chosen", "rejected")):
        row, learned = (
            to_row({name: [USER, each] for name in names} | {"tools": ["t"]})
            for each in (answer, PLAIN)
        )
        assert apply_thinking(row, "Disabled") == learned


def test_disabled_keeps_calls_and_what_others_say() -> None:
    question = {"role": "user", "content": "what does </think> mean?"}
    tool = {"role": "tool", "content": "</think>x"}
    row = to_row({"messages": [question, CALL, tool, PLAIN]})
    assert apply_thinking(row, "Disabled") == row
