"""What the gateway adds to a model request, and what it refuses of it. Pure.

A request is read as vLLM reads it: pydantic in lax mode, so "16384" and 16384.0 are the number
16384. What is no number at all is left for vLLM to refuse.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from qwen3_api.serving.config import RequestLimits
from qwen3_server.gateway.request_body import Headers

Request = dict[str, Any]
_INTEGER = TypeAdapter(int)
_FLAG = TypeAdapter(bool)


@dataclass(frozen=True)
class Refusal:
    """An error in OpenAI's shape."""

    status: int
    code: str
    message: str
    param: str | None = None
    headers: Headers = ()

    def body(self) -> bytes:
        """The JSON that OpenAI's clients parse into their exceptions."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error}, ensure_ascii=False).encode(errors="replace")


def check_limits(request: Request, limits: RequestLimits) -> Refusal | None:
    """Why one request would take more than its share of the pool.

    vLLM runs every sequence of a request at once, so one request with many of them, or with very
    long ones, keeps the others waiting.
    """
    for field in ("max_tokens", "max_completion_tokens", "min_tokens"):
        value = _integer(request.get(field))
        if value is not None and value > limits.max_tokens:
            return _above(field, limits.max_tokens, value)
    for field, value in _prompt_logprobs(request):
        if value < 0 or value > limits.max_prompt_logprobs:
            # -1 is vLLM's word for the whole vocabulary.
            return _above(field, limits.max_prompt_logprobs, value)
    prompts = 1
    for field, count in _lists_of_prompts(request):
        if count > limits.max_sequences:
            return _too_long(field, limits.max_sequences, count)
        prompts = max(prompts, count)
    for field in ("n", "best_of"):
        value = _integer(request.get(field))
        if value is not None and value * prompts > limits.max_sequences:
            return _above(field, max(1, limits.max_sequences // prompts), value)
    return None


def with_thinking_default(request: Request, thinking: bool | None) -> Request:
    """The request with the adapter's `enable_thinking`, unless it says itself.

    It does so by `chat_template_kwargs.enable_thinking`, or by `reasoning_effort`, which vLLM
    turns into it. `chat_template_kwargs` that are no object are left for vLLM to refuse.
    """
    if thinking is None or request.get("reasoning_effort") is not None:
        return request
    arguments = request.get("chat_template_kwargs")
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, dict) or "enable_thinking" in arguments:
        return request
    return {**request, "chat_template_kwargs": {**arguments, "enable_thinking": thinking}}


def _prompt_logprobs(request: Request) -> Iterator[tuple[str, int]]:
    """Fields that ask for log-probabilities of the prompt's tokens, with their counts."""
    value = _integer(request.get("prompt_logprobs"))
    if value is not None:
        yield "prompt_logprobs", value
    if _flag(request.get("echo")):
        value = _integer(request.get("logprobs"))
        if value is not None:
            yield "logprobs", value


def _lists_of_prompts(request: Request) -> Iterator[tuple[str, int]]:
    """Fields that hold several prompts, with their counts. A list of numbers is one prompt."""
    for field in ("prompt", "prompt_embeds", "input"):
        value = request.get(field)
        if isinstance(value, list) and value and not isinstance(value[0], int | float):
            yield field, len(value)


def _integer(value: object) -> int | None:
    if value is None:
        return None
    try:
        return _INTEGER.validate_python(value)
    except ValidationError:
        return None


def _flag(value: object) -> bool:
    try:
        return _FLAG.validate_python(value)
    except ValidationError:
        return False


def _above(field: str, limit: int, value: int) -> Refusal:
    shown = str(value) if abs(value) < 10**18 else "a larger number"
    return Refusal(
        400,
        "integer_above_max_value",
        f"Invalid '{field}': integer above maximum value. Expected a value <= {limit}, but got "
        f"{shown} instead.",
        field,
    )


def _too_long(field: str, limit: int, count: int) -> Refusal:
    return Refusal(
        400,
        "array_above_max_length",
        f"Invalid '{field}': array too long. Expected an array with maximum length {limit}, but "
        f"got an array with length {count} instead.",
        field,
    )
