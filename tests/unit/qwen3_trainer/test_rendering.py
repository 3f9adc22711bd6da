"""What is said about rows that pass the check of their shape and can't be rendered all the same."""

from typing import Any

import pytest
from jinja2 import TemplateSyntaxError

from qwen3_api.job.preflight import MAX_SEGMENTS, SAMPLE_LIMIT
from qwen3_trainer.data.rows import RowError
from qwen3_trainer.preflight.segments import to_segments
from qwen3_trainer.worker.rendering import (
    IGNORED,
    TrainingTemplate,
    render,
    render_preference,
    render_row,
)
from support.chat_tokens import TEMPLATE, TEXT, ByteTokenizer
from support.rows import to_row

USER = {"role": "user", "content": "hi"}
SAY = {"role": "assistant", "content": "hello"}
BAD: dict[str, Any] = {**SAY, "tool_calls": [{"function": {"name": {}}}]}


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"messages": [USER, SAY, USER, BAD, USER, SAY]}, "messages[3]"),
        ({"messages": [BAD, USER, SAY]}, "messages[0]"),
        ({"prompt": [USER, BAD, USER], "completion": [SAY]}, "prompt[1]"),
        ({"prompt": [USER], "completion": [SAY, BAD]}, "completion[1]"),
        ({"messages": [USER, SAY], "tools": [{"title": "f"}]}, "tools"),
    ],
)
def test_the_message_that_a_template_cannot_write_is_named(row: dict[str, Any], field: str) -> None:
    with pytest.raises(RowError) as failed:
        render(to_row(row), ByteTokenizer(), TEMPLATE, True)
    assert str(failed.value).startswith(f"{field}: the chat template can't write it: ")
    assert "as the base model's chat template takes it" in failed.value.hint


def test_a_preference_row_is_two_sequences_with_the_loss_on_the_answers() -> None:
    row = to_row({"prompt": [USER], "chosen": [SAY], "rejected": [{**SAY, "content": "go"}]})
    tokenizer = ByteTokenizer()
    found = [
        (
            tokenizer.decode(sequence.ids),
            tokenizer.decode([label for label in sequence.labels if label != IGNORED]),
        )
        for sequence in render_row(row, tokenizer, TEMPLATE, True)
    ]
    assert found == [
        ("user:hi\nassistant:hello.\n", "hello.\n"),
        ("user:hi\nassistant:go.\n", "go.\n"),
    ]


@pytest.mark.parametrize("name", ["chosen", "rejected"])
def test_of_a_preference_row_too(name: str) -> None:
    row = {"prompt": [USER], "chosen": [SAY], "rejected": [SAY]} | {name: [BAD]}
    with pytest.raises(RowError, match=rf"{name}\[0\]: the chat template"):
        render_preference(to_row(row), ByteTokenizer(), TEMPLATE)


def test_a_template_that_wants_more_than_the_beginning_blames_no_beginning() -> None:
    picky = TEXT + "{% if messages|length < 3 %}{{ messages.most }}{{ 1 / 0 }}{% endif %}"
    row = {"messages": [USER, SAY, USER, BAD]}
    with pytest.raises(RowError, match=r"^messages\[3\]: "):
        render(to_row(row), ByteTokenizer(), TrainingTemplate(picky, "0" * 64), True)


def test_a_broken_template_is_not_the_rows_fault() -> None:
    broken = TrainingTemplate("{% if %}", "0" * 64)
    with pytest.raises(TemplateSyntaxError):
        render(to_row({"messages": [USER, SAY]}), ByteTokenizer(), broken, True)


def test_what_a_template_did_to_the_row_is_not_quoted() -> None:
    quoting = TrainingTemplate("{{ [].index(messages[0].content) }}", "0" * 64)
    row = to_row({"messages": [{**USER, "content": "secret"}, SAY]})
    with pytest.raises(RowError) as failed:
        render(row, ByteTokenizer(), quoting, True)
    assert str(failed.value) == "messages[0]: the chat template can't write it: ValueError"


def _segments(row: dict[str, Any], *, assistant_only: bool = True) -> list[tuple[str, bool]]:
    tokenizer = ByteTokenizer()
    ids, labels = render(to_row(row), tokenizer, TEMPLATE, assistant_only)
    found = to_segments(ids, [label != IGNORED for label in labels], tokenizer.decode)
    return [(segment.text, segment.learned) for segment in found]


def test_a_sample_of_several_turns_shows_where_each_loss_lies() -> None:
    turns = {"messages": [USER, SAY, {**USER, "content": "六?"}, {**SAY, "content": "six"}]}
    assert _segments(turns) == [
        ("user:hi\nassistant:", False),
        ("hello.", True),
        ("\nuser:六?\nassistant:", False),
        ("six.", True),
        ("\n", False),
    ]
    text = "".join(part for part, _ in _segments(turns))
    assert _segments(turns, assistant_only=False) == [(text, True)]
    last = {"prompt": turns["messages"][:3], "completion": turns["messages"][3:]}
    assert [part for part, learned in _segments(last) if learned] == ["six."]


def test_a_long_question_does_not_hide_the_answer() -> None:
    found = _segments({"messages": [{**USER, "content": "x" * 9_000}, SAY]})
    assert [learned for _, learned in found] == [False, True, False]
    assert found[1][0] == "hello."
    assert 1_000 < sum(len(text) for text, _ in found) <= SAMPLE_LIMIT
    many = _segments({"messages": [USER, SAY] * 90})
    assert len(many) == MAX_SEGMENTS
