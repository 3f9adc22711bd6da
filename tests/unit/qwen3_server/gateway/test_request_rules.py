"""What one request may ask for, and what the gateway adds to it."""

from typing import Any

import pytest

from qwen3_api.serving.config import RequestLimits
from qwen3_server.gateway.request_rules import check_limits, with_thinking_default

LIMITS = RequestLimits(max_sequences=8, max_tokens=1000, max_prompt_logprobs=5)

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"n": 16384}, "n"),
    ({"n": 9}, "n"),
    # As vLLM reads numbers: pydantic, lax.
    ({"n": "16384"}, "n"),
    ({"n": 9.0}, "n"),
    ({"n": 10**400}, "n"),
    ({"best_of": 9, "n": 1}, "best_of"),
    ({"n": 16, "use_beam_search": True}, "n"),
    ({"prompt": ["a"] * 9}, "prompt"),
    ({"prompt": [[1, 2]] * 9}, "prompt"),
    ({"prompt": ["a"] * 4, "n": 3}, "n"),
    ({"prompt_embeds": ["x"] * 9}, "prompt_embeds"),
    ({"input": ["a"] * 9}, "input"),
    ({"max_tokens": 1001}, "max_tokens"),
    ({"max_completion_tokens": "1001"}, "max_completion_tokens"),
    ({"max_completion_tokens": 5, "max_tokens": 1001}, "max_tokens"),
    ({"min_tokens": 1001}, "min_tokens"),
    ({"prompt_logprobs": 6}, "prompt_logprobs"),
    ({"prompt_logprobs": -1}, "prompt_logprobs"),
    ({"echo": True, "logprobs": 6}, "logprobs"),
    ({"echo": "true", "logprobs": 6}, "logprobs"),
]


@pytest.mark.parametrize(("request_", "param"), REFUSED)
def test_a_request_for_too_much_is_refused(request_: dict[str, Any], param: str) -> None:
    refusal = check_limits(request_, LIMITS)
    assert refusal is not None
    assert (refusal.status, refusal.param) == (400, param)
    assert f"'{param}'" in refusal.message
    assert len(refusal.message) < 200


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"n": 8},
        {"n": None, "max_tokens": None, "prompt_logprobs": None},
        {"n": 1, "max_tokens": 1000, "prompt_logprobs": 0},
        # One prompt of many tokens.
        {"prompt": list(range(500)), "n": 8},
        {"prompt": ["a"] * 4, "n": 2},
        {"logprobs": True, "top_logprobs": 20},
        {"logprobs": 20},
        # Not for us to explain: vLLM refuses them with its own words.
        {"n": "many"},
        {"n": -1},
        {"n": [1]},
        {"max_tokens": 0.5},
        {"prompt_logprobs": {}},
    ],
)
def test_other_requests_are_left_alone(request_: dict[str, Any]) -> None:
    assert check_limits(request_, LIMITS) is None


@pytest.mark.parametrize(
    ("said", "thinking", "expected"),
    [
        ({}, False, {"chat_template_kwargs": {"enable_thinking": False}}),
        ({}, True, {"chat_template_kwargs": {"enable_thinking": True}}),
        ({}, None, {}),
        ({"chat_template_kwargs": None}, False,
         {"chat_template_kwargs": {"enable_thinking": False}}),
        ({"chat_template_kwargs": {"x": 1}}, False,
         {"chat_template_kwargs": {"x": 1, "enable_thinking": False}}),
        # The request wins.
        ({"chat_template_kwargs": {"enable_thinking": True}}, False,
         {"chat_template_kwargs": {"enable_thinking": True}}),
        ({"reasoning_effort": "high"}, False, {"reasoning_effort": "high"}),
        ({"reasoning_effort": None}, False,
         {"reasoning_effort": None, "chat_template_kwargs": {"enable_thinking": False}}),
        # vLLM's to refuse.
        ({"chat_template_kwargs": [1]}, False, {"chat_template_kwargs": [1]}),
    ],
)  # fmt: skip
def test_an_adapter_is_queried_as_it_was_trained(
    said: dict[str, Any], thinking: bool | None, expected: dict[str, Any]
) -> None:
    assert with_thinking_default(said, thinking) == expected
