"""What the loss covers, by the real tokenizer, template and libraries."""

import json
from typing import Any

import pytest

from support.trainer_runs import build_tiny_base, run_probe

pytestmark = pytest.mark.integration
USER = {"role": "user", "content": "what is 2?"}
ROWS: list[dict[str, Any]] = [
    {"messages": [USER, {"role": "assistant", "content": "it is 6"}]},
    {
        "messages": [
            {"role": "system", "content": "be brief"},
            USER,
            {"role": "assistant", "content": "six"},
            USER,
            {"role": "assistant", "content": "it is 六", "reasoning_content": "2 times 3"},
        ]
    },
    {
        "prompt": [USER, {"role": "assistant", "content": "six"}, USER],
        "completion": [{"role": "assistant", "content": "still six"}],
    },
    {
        "messages": [
            USER,
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {}}}],
            },
            {"role": "tool", "content": "6"},
            {"role": "assistant", "content": "done"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    },
]
PAIRS: list[dict[str, Any]] = [
    {
        "prompt": [USER],
        "chosen": [{"role": "assistant", "content": "it is 6"}],
        "rejected": [{"role": "assistant", "content": "no", "reasoning_content": "hm"}],
    },
    {
        "prompt": [{"role": "system", "content": "be brief" * 9}, USER],
        "chosen": [{"role": "assistant", "content": "six"}],
        "rejected": [{"role": "assistant", "content": "it may be six"}],
    },
]
EMPTY_THINK = "<think>\n\n</think>\n\n"


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The output of support/tokens_probe.py."""
    base, output = (tmp_path_factory.mktemp(name) for name in ("base", "output"))
    build_tiny_base(base)
    text = run_probe("tokens_probe.py", base, output, stdin=json.dumps(ROWS + PAIRS).encode())
    printed: dict[str, Any] = json.loads(text.splitlines()[-1])
    return printed


def test_rows_are_filled_up_with_padding_that_teaches_nothing(probe: dict[str, Any]) -> None:
    rows = probe["filled"]
    assert {row["tokens"] % 8 for row in rows} != {0}
    for row in rows:
        assert row["same"]
        assert row["filled"] % 8 == 0
        assert 0 <= row["filled"] - row["tokens"] < 8
        assert row["longest"] == max(other["filled"] for other in rows)
        if row["filled"] > row["tokens"]:
            assert row["added"] == [[row["padding"]], [-100]]


def test_the_loss_covers_the_assistants_turns(probe: dict[str, Any]) -> None:
    single, several, completion, tools = (row["trained"] for row in probe["rows"])
    assert single == f"{EMPTY_THINK}it is 6<|im_end|>\n"
    assert several.endswith("<think>\n2 times 3\n</think>\n\nit is 六<|im_end|>\n")
    assert "six<|im_end|>\n" in several
    assert "what is" not in several
    assert "be brief" not in several
    assert completion == f"{EMPTY_THINK}still six<|im_end|>\n"
    assert '"name": "f"' in tools
    assert tools.endswith("done<|im_end|>\n")
    assert "tool_response" not in tools


def test_without_the_switch_the_loss_covers_everything(probe: dict[str, Any]) -> None:
    for row in probe["rows"]:
        assert row["trained_without_mask"] == row["text"]


def test_without_thinking_the_empty_block_has_no_loss(probe: dict[str, Any]) -> None:
    single, several, completion, tools = (row["trained_disabled"] for row in probe["rows"])
    assert single == "it is 6<|im_end|>\n"
    assert several == "six<|im_end|>\nit is 六<|im_end|>\n"
    assert completion == "still six<|im_end|>\n"
    assert tools.startswith("<tool_call>")
    assert tools.endswith("done<|im_end|>\n")
    for row in probe["rows"]:
        assert "think>" not in row["trained_disabled"]
        assert "2 times 3" not in row["text_disabled"]
        # It is in the text all the same: a request with enable_thinking false has it.
        assert f"<|im_start|>assistant\n{EMPTY_THINK}" in row["text_disabled"]


def test_a_preference_row_is_a_prompt_and_two_answers(probe: dict[str, Any]) -> None:
    prompt = "<|im_start|>user\nwhat is 2?<|im_end|>\n<|im_start|>assistant\n"
    first, second = probe["pairs"]["AsInData"]
    assert first == [
        prompt,
        f"{EMPTY_THINK}it is 6<|im_end|>\n",
        "<think>\nhm\n</think>\n\nno<|im_end|>\n",
    ]
    assert second[0].endswith(prompt)
    assert second[1:] == [
        f"{EMPTY_THINK}six<|im_end|>\n",
        f"{EMPTY_THINK}it may be six<|im_end|>\n",
    ]


def test_without_thinking_the_empty_block_is_of_the_prompt(probe: dict[str, Any]) -> None:
    first, _ = probe["pairs"]["Disabled"]
    assert first[0].endswith(f"<|im_start|>assistant\n{EMPTY_THINK}")
    assert first[1:] == ["it is 6<|im_end|>\n", "no<|im_end|>\n"]


def test_long_preference_rows_are_cut_and_counted(probe: dict[str, Any]) -> None:
    """Without a limit; as long as the longer prompt; eight tokens over the shorter one."""
    assert probe["pair_cuts"] == [[2, 0, 0, True], [1, 1, 1, True], [1, 2, 1, True]]


def test_an_unknown_template_renders_as_the_known_one(probe: dict[str, Any]) -> None:
    assert probe["same"]


def test_long_rows_are_cut_counted_and_left_out_when_nothing_remains(
    probe: dict[str, Any],
) -> None:
    shortest = probe["rows"][0]["length"]
    whole, first_fits, answers_start, nothing = probe["cuts"].values()
    assert whole[:3] == [4, 0, 0]
    rows, truncated, dropped, longest = first_fits
    assert (rows + dropped, truncated, longest) == (4, 3, shortest)
    assert answers_start == [2, 3, 2, 70]
    assert nothing[0] == "DatasetInvalid"
    assert "within 5 tokens" in nothing[1]
