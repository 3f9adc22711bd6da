"""Asking: one question to one model through the OpenAI API, again and again until it answers.

Only `/v1/chat/completions` is used. A sample costs one request per metric; AssistantLoss alone, or
beside a thinking ExactMatch, costs one more, for the length of the prompt.
"""

import asyncio
import json
import logging
import random
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError

from qwen3_api.job.evaluate import EvalEndpoint, EvalSample, EvalSuite
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_evaluator.failures import EvaluationError
from qwen3_evaluator.questions import Question
from qwen3_evaluator.score import (
    UnscorableError,
    compute_answer_loss,
    is_exact_match,
    strip_thinking,
)

log = logging.getLogger(__name__)

Body = dict[str, Any]


@dataclass(frozen=True)
class Patience:
    """How long a request is repeated before the evaluation gives up. All in seconds."""

    endpoint_away: float = 600
    """From the first failed try: a restart of vLLM takes minutes."""
    model_unknown: float = 60
    """For 404: a pod that restarts may answer a moment before its adapters are back."""
    first_pause: float = 0.5
    longest_pause: float = 15


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")
    content: str | None = None


class _Choice(BaseModel):
    model_config = ConfigDict(extra="ignore")
    message: _Message


class _Completion(BaseModel):
    """What is read of vLLM's chat completion."""

    model_config = ConfigDict(extra="ignore")
    choices: list[_Choice]
    prompt_token_ids: list[int]
    """vLLM's `return_token_ids`."""
    prompt_logprobs: list[Mapping[str, Mapping[str, object]] | None] | None = None


class _TransientError(Exception):
    """A try failed in a way that may pass. `after` is when the server wants the next, in s."""

    def __init__(
        self, message: str, *, model_unknown: bool = False, after: float | None = None
    ) -> None:
        super().__init__(message)
        self.model_unknown = model_unknown
        self.after = after


class Asker:
    """An async context manager around the HTTP connections."""

    def __init__(self, concurrency: int, patience: Patience = Patience()) -> None:
        self._patience = patience
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=concurrency, socket_factory=_keepalive_socket),
            headers={"User-Agent": "qwen3-evaluator"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.close()

    async def ask(self, endpoint: EvalEndpoint, suite: EvalSuite, question: Question) -> EvalSample:
        """Ask what the suite's metrics need and score it.

        Raises EvaluationError: the endpoint is away, doesn't know the model, or refuses the
        question; the loss can't be computed.
        """
        answer: str | None = None
        prompt_ids: list[int] | None = None
        loss: float | None = None
        tokens: int | None = None
        if "ExactMatch" in suite.metrics:
            completion = await self._complete(
                endpoint, suite, question, build_answer_request(endpoint.model, suite, question)
            )
            answer = strip_thinking(completion.choices[0].message.content)
            # Without thinking this was the very prompt that the expected answer follows.
            prompt_ids = None if suite.thinking else completion.prompt_token_ids
        if "AssistantLoss" in suite.metrics:
            loss, tokens = await self._ask_loss(endpoint, suite, question, prompt_ids)
        return EvalSample(
            suite=suite.name,
            model=endpoint.name,
            line=question.line,
            category=question.category,
            question=question.question,
            expected=question.answer,
            answer=answer,
            exact_match=None if answer is None else is_exact_match(answer, question.answer),
            loss=loss,
            answer_tokens=tokens,
        )

    async def _ask_loss(
        self,
        endpoint: EvalEndpoint,
        suite: EvalSuite,
        question: Question,
        prompt_ids: list[int] | None,
    ) -> tuple[float, int]:
        if prompt_ids is None:
            request = build_prompt_request(endpoint.model, question)
            prompt_ids = (await self._complete(endpoint, suite, question, request)).prompt_token_ids
        scored = await self._complete(
            endpoint, suite, question, build_loss_request(endpoint.model, question)
        )
        try:
            return compute_answer_loss(
                prompt_ids, scored.prompt_token_ids, scored.prompt_logprobs or []
            )
        except UnscorableError as error:
            raise EvaluationError(
                Reason.EVALUATOR_FAILED,
                f"suite {suite.name}, line {question.line}: AssistantLoss can't be computed on "
                f"{endpoint.model}: {error}",
                hint="The answer must follow the chat template's prompt as it is: without think "
                "tags and without leading blank lines. Thinking-only models have no such prompt; "
                "ask those for ExactMatch alone.",
            ) from error

    async def _complete(
        self, endpoint: EvalEndpoint, suite: EvalSuite, question: Question, body: Body
    ) -> _Completion:
        url = f"{endpoint.base_url}/chat/completions"
        where = f"suite {suite.name}, line {question.line}, model {endpoint.model} at {url}"
        failing_since: float | None = None
        pause = self._patience.first_pause
        while True:
            try:
                return await self._post(url, body, where)
            except _TransientError as error:
                now = time.monotonic()
                failing_since = now if failing_since is None else failing_since
                limit = (
                    self._patience.model_unknown
                    if error.model_unknown
                    else self._patience.endpoint_away
                )
                if now - failing_since >= limit:
                    raise _give_up(error, where, now - failing_since) from error
                wait = error.after or random.uniform(pause / 2, pause)  # noqa: S311  # jitter
                log.warning("asking again in %.1f s: %s: %s", wait, where, error)
                await asyncio.sleep(wait)
                pause = min(pause * 2, self._patience.longest_pause)

    async def _post(self, url: str, body: Body, where: str) -> _Completion:
        try:
            async with self._http.post(
                url, json=body, timeout=_timeout(body["max_tokens"]), allow_redirects=False
            ) as response:
                text = await response.text()
        except TimeoutError as error:
            raise _TransientError("no answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _TransientError(f"{type(error).__name__}: {error}") from error
        if response.status == 200:
            return _parse_completion(text, where)
        said = f"{response.status}: {_error_text(text)}"
        if response.status == 404:
            raise _TransientError(said, model_unknown=True)
        if response.status in (408, 409, 425, 429) or response.status >= 500:
            raise _TransientError(said, after=_retry_after(response.headers, self._patience))
        raise EvaluationError(
            Reason.EVALUATOR_FAILED,
            f"{where}: the server refused the request with {said}",
            hint="If the question is too long for the model, shorten it or lower "
            "generation.maxTokens.",
        )


def build_answer_request(model: str, suite: EvalSuite, question: Question) -> Body:
    """The request whose content is the model's answer."""
    return {
        "model": model,
        "messages": _prompt(question),
        "temperature": suite.temperature,
        "max_tokens": suite.max_tokens,
        "seed": suite.seed,
        "chat_template_kwargs": {"enable_thinking": suite.thinking},
        "return_token_ids": True,
    }


def build_prompt_request(model: str, question: Question) -> Body:
    """The request that tells the prompt's tokens; the API has no way not to generate."""
    return {
        "model": model,
        "messages": _prompt(question),
        "temperature": 0,
        "max_tokens": 1,
        "chat_template_kwargs": {"enable_thinking": False},
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
        "chat_template_kwargs": {"enable_thinking": False},
        "return_token_ids": True,
    }


def _prompt(question: Question) -> list[dict[str, str]]:
    system = [] if question.system is None else [{"role": "system", "content": question.system}]
    return [*system, {"role": "user", "content": question.question}]


def _timeout(max_tokens: int) -> aiohttp.ClientTimeout:
    # A full server queues for minutes, then writes at least some four tokens a second.
    return aiohttp.ClientTimeout(total=300 + max_tokens / 4, sock_connect=10)


def _keepalive_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket that notices within a minute that the other node is gone; replies take longer."""
    family, kind, protocol = address[:3]
    created = socket.socket(family, kind, protocol)
    created.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    created.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20)
    created.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    created.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
    return created


def _parse_completion(text: str, where: str) -> _Completion:
    try:
        completion = _Completion.model_validate_json(text)
    except ValidationError as error:
        complaint = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in complaint["loc"])
        raise EvaluationError(
            Reason.EVALUATOR_FAILED,
            f"{where}: the reply is no chat completion of vLLM: {field}: {complaint['msg']}",
            hint="The server must be vLLM 0.10.2 or newer (return_token_ids).",
        ) from error
    if not completion.choices:
        raise EvaluationError(Reason.EVALUATOR_FAILED, f"{where}: the reply has no choices")
    return completion


def _error_text(text: str) -> str:
    """The message of an OpenAI error, or the start of whatever came instead."""
    try:
        return str(json.loads(text)["error"]["message"])[:400]
    except (ValueError, KeyError, TypeError):
        return text.strip()[:200]


def _retry_after(headers: Mapping[str, str], patience: Patience) -> float | None:
    seconds = headers.get("Retry-After", "")
    return min(float(seconds), patience.longest_pause) if seconds.isdecimal() else None


def _give_up(error: _TransientError, where: str, seconds: float) -> EvaluationError:
    if error.model_unknown:
        return EvaluationError(
            Reason.EVALUATOR_FAILED,
            f"{where}: the server doesn't know the model ({error})",
            hint="It was probably replaced or removed; apply a new evaluation of what serves now.",
        )
    return EvaluationError(
        Reason.EVALUATOR_FAILED,
        f"{where}: no answer for {seconds:.0f} s; the last try: {error}",
        hint="Look at the pods of the serving pool.",
        exit_code=ExitCode.UNEXPECTED,
    )
