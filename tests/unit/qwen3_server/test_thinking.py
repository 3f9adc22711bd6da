"""Reasoning and answer told apart: by the template, whole and in any parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_server.thinking import ThinkSplitter, ThinkStart, find_think_start, split_output

HYBRID = "{%- if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>"
PLAIN = "{% for m in messages %}<|im_start|>{{ m.role }}{% endfor %}"
USER = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
TOOL_STEP = (
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\na\n</think>\n\n<tool_call>"
    "<|im_end|>\n<|im_start|>user\n<tool_response>1</tool_response><|im_end|>\n"
    "<|im_start|>assistant\n"
)


@pytest.mark.parametrize(
    ("prompt", "template", "start"),
    [
        (USER, HYBRID, ThinkStart.IN_OUTPUT),
        (USER + "<think>\n\n</think>\n\n", HYBRID, ThinkStart.NEVER),
        (USER + "<think>\n", HYBRID, ThinkStart.IN_PROMPT),
        (USER, PLAIN, ThinkStart.NEVER),
        # The thoughts of an earlier step say nothing about the next one.
        (TOOL_STEP, HYBRID, ThinkStart.IN_OUTPUT),
        (TOOL_STEP + "<think>\n", HYBRID, ThinkStart.IN_PROMPT),
    ],
)
def test_the_template_says_who_opens_the_block(
    prompt: str, template: str, start: ThinkStart
) -> None:
    assert find_think_start(prompt, template) is start


OUTPUTS = [
    ("<think>\n\n</think>\n\nParis.", ThinkStart.IN_OUTPUT, None, "Paris."),
    ("<think>\nIt is\n\nin France.\n</think>\n\nParis.", ThinkStart.IN_OUTPUT,
     "It is\n\nin France.", "Paris."),
    ("\n<think>\na\n</think>\n\n  b\n", ThinkStart.IN_OUTPUT, "a", "b\n"),
    # Cut inside the block: no answer.
    ("<think>\nIt is in", ThinkStart.IN_OUTPUT, "It is in", None),
    ("<think>", ThinkStart.IN_OUTPUT, None, None),
    ("<think>\na\n</think>\n\n", ThinkStart.IN_OUTPUT, "a", None),
    # A model that doesn't think.
    ("  Paris.", ThinkStart.IN_OUTPUT, None, "  Paris."),
    ("Write <think> and </think>.", ThinkStart.IN_OUTPUT, None, "Write <think> and </think>."),
    ("", ThinkStart.IN_OUTPUT, None, None),
    # The tag in an answer is text.
    ("<think>\na\n</think>\n\nb </think> c", ThinkStart.IN_OUTPUT, "a", "b </think> c"),
    ("a\n</think>\n\nb", ThinkStart.IN_PROMPT, "a", "b"),
    ("a", ThinkStart.IN_PROMPT, "a", None),
    ("<think>\na\n</think>\n\nb", ThinkStart.NEVER, None, "<think>\na\n</think>\n\nb"),
    ("b", ThinkStart.NEVER, None, "b"),
]  # fmt: skip


@pytest.mark.parametrize(("output", "start", "reasoning", "answer"), OUTPUTS)
def test_an_output_is_split(
    output: str, start: ThinkStart, reasoning: str | None, answer: str | None
) -> None:
    assert split_output(output, start) == (reasoning, answer)


TOKENS = st.lists(
    st.sampled_from(["<think>", "</think>", "\n", "\n\n", " ", "a", "b c", "<", "<tool_call>"]),
    max_size=14,
)


@given(tokens=TOKENS, cuts=st.sets(st.integers(1, 13)), start=st.sampled_from(ThinkStart))
def test_a_stream_says_what_the_whole_says(
    tokens: list[str], cuts: set[int], start: ThinkStart
) -> None:
    splitter = ThinkSplitter(start)
    reasoning = answer = ""
    began = 0
    for end in [*sorted(c for c in cuts if c < len(tokens)), len(tokens)]:
        in_answer = splitter.in_answer
        piece = splitter.feed("".join(tokens[began:end]))
        assert not (in_answer and piece.reasoning), "nothing is thought after the answer began"
        reasoning, answer, began = reasoning + piece.reasoning, answer + piece.content, end
    assert (reasoning or None, answer or None) == split_output("".join(tokens), start)


@given(tokens=TOKENS, start=st.sampled_from(ThinkStart))
def test_nothing_visible_is_lost(tokens: list[str], start: ThinkStart) -> None:
    reasoning, answer = split_output("".join(tokens), start)
    kept = "".join(f"{reasoning or ''}{answer or ''}".split())
    whole = "".join("".join(tokens).split())
    for tag in ("<think>", "</think>"):
        kept, whole = kept.replace(tag, ""), whole.replace(tag, "")
    assert kept == whole
