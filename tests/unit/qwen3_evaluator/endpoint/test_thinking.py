"""Thinking: told apart from the answer, and never made up."""

import pytest

from qwen3_evaluator.endpoint.thinking import split_thinking


@pytest.mark.parametrize(
    ("content", "thought", "answer"),
    [
        ("Berlin", None, "Berlin"),
        ("<think>\n\n</think>\n\nBerlin", None, "Berlin"),
        ("\n<think>\nIs it Bonn?\nNo.\n</think>\n\nBerlin", "Is it Bonn?\nNo.", "Berlin"),
        ("It is Bonn. No.\n</think>\n\nBerlin", "It is Bonn. No.", "Berlin"),
        ("<think>\nstill at it", "still at it", ""),
        ("<think>", None, ""),
        ("<think>\n\n</think>\n\n", None, ""),
        (None, None, ""),
        ("a < b", None, "a < b"),
        ("<think></think>1<think></think>2", None, "1<think></think>2"),
    ],
)
def test_a_think_block_in_the_content_is_taken_out(
    content: str | None, thought: str | None, answer: str
) -> None:
    assert split_thinking(content) == (thought, answer)


@pytest.mark.parametrize(
    ("content", "reasoning", "thought", "answer"),
    [
        ("4", "2 and 2", "2 and 2", "4"),
        (None, "2 and 2", "2 and 2", ""),
        ("4", "\n\n", None, "4"),
        ("4", "", None, "4"),
        ("<think>\nblock\n</think>\n\n4", "field", "field", "4"),
        ("<think>\nblock\n</think>\n\n4", "\n", "block", "4"),
    ],
)
def test_the_servers_own_parser_wins_over_a_block(
    content: str | None, reasoning: str, thought: str | None, answer: str
) -> None:
    assert split_thinking(content, reasoning) == (thought, answer)
