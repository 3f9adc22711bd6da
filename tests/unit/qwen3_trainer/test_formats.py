"""Every shape of a row, right and wrong."""

from typing import Any

import pytest

from qwen3_api.v1alpha1.training import DatasetFormat
from qwen3_trainer.data.formats import convert, detect_format, require_format
from qwen3_trainer.data.rows import RowError, ends_unanswered, has_late_system
from support.rows import to_row

USER = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": "hello"}
CHAT = {"messages": [USER, ANSWER]}
WORSE = {"role": "assistant", "content": "go away"}
CALL = {"type": "function", "function": {"name": "f", "arguments": {"a": [1]}}}
SYSTEM = {"role": "system", "content": "be kind"}
TOOL = {"role": "tool", "content": "3"}
PAIR = {"prompt": [USER], "chosen": [ANSWER], "rejected": [WORSE]}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": []}, "Messages"),
        ({"conversations": [], "id": 1}, "ShareGPT"),
        ({"instruction": "a", "output": "b"}, "Alpaca"),
        ({"instruction": "a", "input": "", "output": "b"}, "Alpaca"),
        ({"prompt": "a", "completion": "b"}, "PromptCompletion"),
    ],
)
def test_format_is_told_by_the_keys(row: dict[str, Any], expected: DatasetFormat) -> None:
    assert detect_format(row) == expected


def test_unknown_keys_are_named() -> None:
    with pytest.raises(RowError, match="no known format has these keys: question, reply"):
        detect_format({"question": "a", "reply": "b"})


def test_a_preference_row_is_told_apart() -> None:
    with pytest.raises(RowError, match="preference row"):
        detect_format({"prompt": "a", "chosen": "b", "rejected": "c"})


@pytest.mark.parametrize("row", [PAIR, {"chosen": [], "rejected": [], "id": 1}])
def test_dpo_takes_preference_rows(row: dict[str, Any]) -> None:
    assert detect_format(row, "DPO") == "Preference"


@pytest.mark.parametrize("row", [CHAT, {"prompt": "a", "completion": "b"}, {"prompt": "a"}])
def test_dpo_takes_nothing_else(row: dict[str, Any]) -> None:
    with pytest.raises(RowError, match="not a preference row, it has these keys: "):
        detect_format(row, "DPO")


def test_a_format_belongs_to_one_method() -> None:
    require_format("Preference", "DPO")
    require_format("Alpaca", "SFT")
    with pytest.raises(RowError, match="method DPO can't learn from rows of format Alpaca"):
        require_format("Alpaca", "DPO")
    with pytest.raises(RowError, match="method SFT can't learn"):
        require_format("Preference", "SFT")


@pytest.mark.parametrize(
    ("shape", "row", "expected"),
    [
        ("Messages", {**CHAT, "id": 3}, CHAT),
        (
            "Messages",
            {
                "messages": [
                    {"role": "system", "content": ""},
                    {"role": "user", "content": [{"type": "text", "text": "h"}] * 2},
                    {**ANSWER, "reasoning_content": "so", "weight": 1},
                ]
            },
            {
                "messages": [
                    {"role": "system", "content": ""},
                    {"role": "user", "content": "hh"},
                    {**ANSWER, "reasoning_content": "so"},
                ]
            },
        ),
        (
            "Messages",
            {
                "messages": [
                    USER,
                    {"role": "assistant", "content": None, "tool_calls": [CALL]},
                    {"role": "tool", "content": ""},
                    ANSWER,
                ],
                "tools": '[{"name": "f"}]',
            },
            {
                "messages": [
                    USER,
                    {"role": "assistant", "content": "", "tool_calls": [CALL]},
                    {"role": "tool", "content": ""},
                    ANSWER,
                ],
                "tools": [{"name": "f"}],
            },
        ),
        (
            "ShareGPT",
            {
                "system": "be kind",
                "conversations": [
                    {"from": "human", "value": "hi"},
                    {"from": "gpt", "value": "hello"},
                ],
            },
            {"messages": [{"role": "system", "content": "be kind"}, USER, ANSWER]},
        ),
        ("ShareGPT", {"conversations": [USER, ANSWER]}, CHAT),
        ("Alpaca", {"instruction": "hi", "input": " ", "output": "hello"}, CHAT),
        ("Alpaca", {"instruction": "hi", "output": "hello"}, CHAT),
        (
            "Alpaca",
            {"instruction": "sum", "input": "1 2", "output": "3"},
            {
                "messages": [
                    {"role": "user", "content": "sum\n\n1 2"},
                    {"role": "assistant", "content": "3"},
                ]
            },
        ),
        (
            "PromptCompletion",
            {"prompt": "hi", "completion": "hello"},
            {"prompt": [USER], "completion": [ANSWER]},
        ),
        (
            "PromptCompletion",
            {"prompt": [USER, ANSWER, USER], "completion": [ANSWER]},
            {"prompt": [USER, ANSWER, USER], "completion": [ANSWER]},
        ),
        (
            "Preference",
            {"prompt": "hi", "chosen": "hello", "rejected": "go away", "score": 1},
            PAIR,
        ),
        ("Preference", {"prompt": [USER], "chosen": [ANSWER], "rejected": "go away"}, PAIR),
        ("Preference", {"prompt": "hi", "chosen": [ANSWER], "rejected": [WORSE]}, PAIR),
        ("Preference", {"chosen": [USER, ANSWER], "rejected": [USER, WORSE]}, PAIR),
        ("Preference", {"prompt": "hi", "chosen": [USER, ANSWER], "rejected": [USER, WORSE]}, PAIR),
        (
            "Preference",
            {"prompt": [USER], "chosen": [USER, ANSWER], "rejected": [USER, WORSE]},
            PAIR,
        ),
        (
            "Preference",
            {
                "chosen": [USER, ANSWER, USER, ANSWER],
                "rejected": [USER, ANSWER, USER, WORSE],
                "tools": [{"name": "f"}],
            },
            {**PAIR, "prompt": [USER, ANSWER, USER], "tools": [{"name": "f"}]},
        ),
    ],
)
def test_rows_become_chat_messages(
    shape: DatasetFormat, row: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert convert(row, shape) == to_row(expected)


@pytest.mark.parametrize(
    ("shape", "row", "problem"),
    [
        ("Messages", {}, "messages: missing"),
        ("Messages", {"messages": "hi"}, "messages: a list is expected, not a string"),
        ("Messages", {"messages": []}, "messages: empty"),
        ("Messages", {"messages": ["hi"]}, "messages[0]: an object is expected, not a string"),
        ("Messages", {"messages": [{"content": "hi"}]}, "messages[0].role: missing"),
        (
            "Messages",
            {"messages": [{"role": "bot", "content": "hi"}]},
            "messages[0].role: one of system, user, assistant, tool is expected",
        ),
        (
            "Messages",
            {"messages": [USER, {"role": "assistant"}]},
            "messages[1].content: missing",
        ),
        (
            "Messages",
            {"messages": [USER, {"role": "assistant", "content": 3}]},
            "messages[1].content: a string is expected, not a number",
        ),
        (
            "Messages",
            {"messages": [USER, {"role": "assistant", "content": " \n"}]},
            "messages[1].content: empty",
        ),
        ("Messages", {"messages": [USER]}, "messages: no assistant answer"),
        (
            "Messages",
            {"messages": [ANSWER, USER]},
            "messages: no user message before the first answer",
        ),
        (
            "Messages",
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ANSWER]},
            'messages[0].content[0]: only parts of type "text" can be learned from',
        ),
        (
            "Messages",
            {"messages": [USER, {**ANSWER, "tool_calls": {"a": 1}}]},
            "messages[1].tool_calls: a list is expected, not an object",
        ),
        ("Messages", {**CHAT, "tools": "f("}, "tools: a list, or a list as JSON text, is expected"),
        ("Messages", {**CHAT, "tools": ["f"]}, "tools[0]: an object is expected, not a string"),
        (
            "ShareGPT",
            {"conversations": [{"from": "martian", "value": "hi"}]},
            "conversations[0].from: unknown speaker",
        ),
        (
            "ShareGPT",
            {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt"}]},
            "conversations[1].value: missing",
        ),
        (
            "ShareGPT",
            {"conversations": [{"from": "human", "value": "hi"}]},
            "conversations: no assistant answer",
        ),
        ("Alpaca", {"instruction": "hi", "output": ""}, "output: empty"),
        ("Alpaca", {"instruction": "hi"}, "output: missing"),
        ("Alpaca", {"output": "hi"}, "instruction: missing"),
        (
            "Alpaca",
            {"instruction": "hi", "input": 4, "output": "a"},
            "input: a string is expected, not a number",
        ),
        ("PromptCompletion", {"prompt": "hi"}, "completion: missing"),
        ("PromptCompletion", {"prompt": "hi", "completion": ""}, "completion: empty"),
        ("PromptCompletion", {"prompt": "hi", "completion": [ANSWER]}, "prompt: prompt and"),
        (
            "PromptCompletion",
            {"prompt": [USER], "completion": [USER]},
            "completion: no assistant answer",
        ),
        ("PromptCompletion", {"prompt": [ANSWER], "completion": [ANSWER]}, "prompt: no user"),
        ("Preference", {"prompt": "hi", "chosen": "a"}, "rejected: missing"),
        ("Preference", {"prompt": "hi", "chosen": "a", "rejected": " "}, "rejected: empty"),
        ("Preference", {"prompt": "hi", "chosen": 3, "rejected": "b"}, "chosen: a string is expec"),
        ("Preference", {"prompt": "hi", "chosen": "a", "rejected": "a"}, "rejected: the same as"),
        ("Preference", {"chosen": "a", "rejected": "b"}, "prompt: missing"),
        ("Preference", {"chosen": [ANSWER], "rejected": [WORSE]}, "prompt: missing"),
        ("Preference", {"prompt": [ANSWER], "chosen": "a", "rejected": "b"}, "prompt: no user"),
        (
            "Preference",
            {"chosen": [USER, {"role": "assistant"}], "rejected": [USER, WORSE]},
            "chosen[1].content: missing",
        ),
        (
            "Preference",
            {"chosen": [USER, ANSWER], "rejected": [{**USER, "content": "ho"}, ANSWER]},
            "rejected: starts with another message than chosen",
        ),
        (
            "Preference",
            {"chosen": [USER, ANSWER], "rejected": [USER]},
            "rejected: an assistant answer is expected where chosen and rejected part",
        ),
        (
            "Preference",
            {"chosen": [USER, USER], "rejected": [USER, WORSE]},
            "chosen: an assistant answer is expected where chosen and rejected part",
        ),
        (
            "Preference",
            {"prompt": "ho", "chosen": [USER, ANSWER], "rejected": [USER, WORSE]},
            "prompt: chosen and rejected start with other messages",
        ),
    ],
)
def test_a_broken_row_names_the_field(
    shape: DatasetFormat, row: dict[str, Any], problem: str
) -> None:
    with pytest.raises(RowError) as caught:
        convert(row, shape)
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (CALL, CALL),
        ({"id": "1", "name": "f", "arguments": {}}, {"id": "1", "name": "f", "arguments": {}}),
        ({"function": {"name": "f"}}, {"function": {"name": "f", "arguments": {}}}),
        (
            {"function": {"name": "f", "arguments": None}},
            {"function": {"name": "f", "arguments": {}}},
        ),
        ({"name": "f", "arguments": " "}, {"name": "f", "arguments": {}}),
        ({"name": "f", "arguments": "null"}, {"name": "f", "arguments": {}}),
        ({"function": None, "name": "f"}, {"name": "f", "arguments": {}}),
        ({"name": "f", "arguments": '{"a": 1}'}, {"name": "f", "arguments": '{"a": 1}'}),
    ],
)
def test_a_tool_call_has_a_name_and_arguments(
    call: dict[str, Any], expected: dict[str, Any]
) -> None:
    row = convert({"messages": [USER, {**ANSWER, "tool_calls": [call]}]}, "Messages")
    assert row.dialogue()[1]["tool_calls"] == [expected]


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ("x", "[0]: an object is expected, not a string"),
        (None, "[0]: an object is expected, not null"),
        ({}, "[0].name: missing"),
        ({"function": {}}, "[0].function.name: missing"),
        ({"function": "f"}, "[0].function: an object is expected, not a string"),
        ({"function": {"name": 3}}, "[0].function.name: a string is expected, not a number"),
        ({"name": "f", "arguments": [1]}, "[0].arguments: an object is expected, not a list"),
        ({"name": "f", "arguments": "[1]"}, "[0].arguments: an object is expected, not a list"),
        (
            {"function": {"name": "f", "arguments": "{a"}},
            "[0].function.arguments: an object, or an object as JSON text, is expected",
        ),
    ],
)
@pytest.mark.parametrize("shape", ["Messages", "ShareGPT", "PromptCompletion", "Preference"])
def test_a_broken_tool_call_names_the_field(shape: DatasetFormat, call: Any, problem: str) -> None:
    calling = {"role": "assistant", "content": None, "tool_calls": [call]}
    rows: dict[str, tuple[dict[str, Any], str]] = {
        "Messages": ({"messages": [USER, calling]}, "messages[1]"),
        "ShareGPT": ({"conversations": [USER, calling]}, "conversations[1]"),
        "PromptCompletion": ({"prompt": [USER], "completion": [calling]}, "completion[0]"),
        "Preference": ({**PAIR, "rejected": [calling]}, "rejected[0]"),
    }
    row, field = rows[shape]
    with pytest.raises(RowError) as caught:
        convert(row, shape)
    assert str(caught.value) == f"{field}.tool_calls{problem}"


@pytest.mark.parametrize(
    ("shape", "row", "place"),
    [
        ("Messages", {"messages": [TOOL, USER, ANSWER]}, "messages[0]"),
        ("Messages", {"messages": [USER, ANSWER, USER, TOOL, ANSWER]}, "messages[3]"),
        ("ShareGPT", {"system": "s", "conversations": [USER, TOOL, ANSWER]}, "conversations[1]"),
        ("PromptCompletion", {"prompt": [USER, TOOL], "completion": [ANSWER]}, "prompt[1]"),
        (
            "PromptCompletion",
            {"prompt": [USER], "completion": [ANSWER, USER, TOOL, ANSWER]},
            "completion[2]",
        ),
        ("Preference", {**PAIR, "prompt": [USER, TOOL]}, "prompt[1]"),
        (
            "Preference",
            {"chosen": [USER, ANSWER], "rejected": [USER, WORSE, USER, TOOL]},
            "rejected[3]",
        ),
    ],
)
def test_a_tools_result_follows_an_answer(
    shape: DatasetFormat, row: dict[str, Any], place: str
) -> None:
    with pytest.raises(RowError) as caught:
        convert(row, shape)
    assert (
        str(caught.value) == f"{place}: a tool's result that doesn't follow an assistant's message"
    )


def test_a_system_message_between_call_and_result_is_let_through() -> None:
    messages = [USER, ANSWER, SYSTEM, TOOL, ANSWER]
    assert convert({"messages": messages}, "Messages").dialogue() == messages


@pytest.mark.parametrize(
    ("messages", "late_system", "unanswered"),
    [
        ([SYSTEM, USER, ANSWER], False, False),
        ([SYSTEM, SYSTEM, USER, ANSWER], False, False),
        ([USER, USER, ANSWER, ANSWER], False, False),
        ([USER, SYSTEM, ANSWER], True, False),
        ([SYSTEM, USER, ANSWER, SYSTEM, USER, ANSWER], True, False),
        ([USER, ANSWER, USER], False, True),
        ([USER, ANSWER, TOOL, TOOL], False, True),
    ],
)
def test_unusual_orders_of_roles_are_taken_and_noticed(
    messages: list[dict[str, Any]], late_system: bool, unanswered: bool
) -> None:
    row = convert({"messages": messages}, "Messages")
    assert row.dialogue() == messages
    assert (has_late_system(row), ends_unanswered(row)) == (late_system, unanswered)


def test_errors_never_show_content() -> None:
    secret = "my password is 1234"
    with pytest.raises(RowError) as caught:
        convert({"messages": [{"role": secret, "content": secret}]}, "Messages")
    assert "1234" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (CHAT, [USER]),
        ({"messages": [USER, ANSWER, USER, ANSWER]}, [USER]),
        ({"prompt": [USER, ANSWER, USER], "completion": [ANSWER]}, [USER, ANSWER, USER]),
    ],
)
def test_prompt_is_what_has_to_be_answered_first(
    row: dict[str, Any], expected: list[dict[str, Any]]
) -> None:
    assert to_row(row).prompt == expected
