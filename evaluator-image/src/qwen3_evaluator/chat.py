"""The chat completions API as far as the evaluator speaks it: requests, replies, connections.

`return_token_ids`, `prompt_logprobs` and `add_generation_prompt` are vLLM's; they are sent only
where AssistantLoss needs them.
"""

import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError

from qwen3_api.job.evaluate import EvalEndpoint, EvalSuite
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_evaluator.questions import Question

Body = dict[str, Any]
TEMPLATE_FIELD = "chat_template_kwargs"


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")
    content: str | None = None
    reasoning: str | None = None
    """What vLLM's reasoning parser took out of the content; older versions and other servers call
    it `reasoning_content`."""
    reasoning_content: str | None = None


class _Choice(BaseModel):
    model_config = ConfigDict(extra="ignore")
    message: _Message


class Usage(BaseModel):
    """What a reply says it took, in tokens."""

    model_config = ConfigDict(extra="ignore")
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Completion(BaseModel):
    """What is read of a chat completion."""

    model_config = ConfigDict(extra="ignore")
    choices: list[_Choice]
    usage: Usage | None = None
    prompt_token_ids: list[int] | None = None
    """vLLM's `return_token_ids`."""
    prompt_logprobs: list[Mapping[str, Mapping[str, object]] | None] | None = None


def build_answer_request(
    model: str, suite: EvalSuite, question: Question, sample: int, *, token_ids: bool
) -> Body:
    """The request whose content is the model's answer.

    sample: which of the answers to the question, from 0; each has a seed of its own.
    token_ids: whether the reply must tell the prompt's tokens.
    """
    body = {
        "model": model,
        "messages": _prompt(question),
        "temperature": suite.temperature,
        "max_tokens": suite.max_tokens,
        "seed": suite.seed + sample,
        TEMPLATE_FIELD: {"enable_thinking": suite.thinking},
    }
    return body | ({"return_token_ids": True} if token_ids else {})


def build_prompt_request(model: str, question: Question) -> Body:
    """The request that tells the prompt's tokens; the API has no way not to generate."""
    return {
        "model": model,
        "messages": _prompt(question),
        "temperature": 0,
        "max_tokens": 1,
        TEMPLATE_FIELD: {"enable_thinking": False},
        "return_token_ids": True,
    }


def build_loss_request(model: str, question: Question) -> Body:
    """The request that tells the log-probability of each token of prompt and expected answer.

    `prompt_logprobs` 0 gives those of the given tokens and no alternatives. vLLM doesn't read its
    prefix cache for such a request, so every position has one.
    """
    return {
        "model": model,
        "messages": [*_prompt(question), {"role": "assistant", "content": question.answer}],
        "add_generation_prompt": False,
        "temperature": 0,
        "max_tokens": 1,
        "prompt_logprobs": 0,
        TEMPLATE_FIELD: {"enable_thinking": False},
        "return_token_ids": True,
    }


def _prompt(question: Question) -> list[dict[str, str]]:
    system = [] if question.system is None else [{"role": "system", "content": question.system}]
    return [*system, {"role": "user", "content": question.question}]


def parse_completion(text: str, where: str) -> Completion:
    """The reply's completion. Raises FailureError: it is none, or has no choices."""
    try:
        completion = Completion.model_validate_json(text)
    except ValidationError as error:
        complaint = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in complaint["loc"])
        raise FailureError(
            Reason.EVALUATOR_FAILED,
            f"{where}: the reply is no chat completion: {field}: {complaint['msg']}",
            hint="The url must be that of an OpenAI-compatible API, with its version (…/v1).",
        ) from error
    if not completion.choices:
        raise FailureError(Reason.EVALUATOR_FAILED, f"{where}: the reply has no choices")
    return completion


def read_api_key(endpoint: EvalEndpoint) -> str | None:
    """The key to send, without the newline that `echo` leaves in a Secret; None: send none.

    Raises FailureError: it is missing, or no HTTP header takes it.
    """
    if endpoint.api_key_env is None:
        return None
    key = os.environ.get(endpoint.api_key_env, "").strip()
    if key and key.isascii() and key.isprintable():
        return key
    wrong = "has characters that no HTTP header takes" if key else "is missing or empty"
    raise FailureError(
        Reason.CREDENTIALS_NOT_FOUND,
        f"the API key of {endpoint.name} ({endpoint.model}) {wrong}",
        hint="Check OPENAI_API_KEY in the Secret that the endpoint's secretRef names.",
    )


def open_session(
    concurrency: int, traces: Sequence[aiohttp.TraceConfig] = ()
) -> aiohttp.ClientSession:
    """HTTP connections that notice a server that is gone, as many as requests in flight.

    traces: what is called when a request begins and ends (benchmarks).
    """
    return aiohttp.ClientSession(
        trace_configs=list(traces),
        connector=aiohttp.TCPConnector(limit=concurrency, socket_factory=_keepalive_socket),
        headers={"User-Agent": "qwen3-evaluator"},
    )


def build_timeout(max_tokens: int) -> aiohttp.ClientTimeout:
    """How long a completion may take."""
    # A full server queues for minutes, then writes at least some four tokens a second.
    return aiohttp.ClientTimeout(total=300 + max_tokens / 4, sock_connect=10)


def describe_error(text: str) -> str:
    """The message of an OpenAI error, or the start of whatever came instead."""
    try:
        return str(json.loads(text)["error"]["message"])[:400]
    except (ValueError, KeyError, TypeError, RecursionError):
        return text.strip()[:200]


def _keepalive_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket that notices within a minute that the other node is gone; replies take longer."""
    family, kind, protocol = address[:3]
    created = socket.socket(family, kind, protocol)
    created.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    created.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20)
    created.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    created.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
    return created
