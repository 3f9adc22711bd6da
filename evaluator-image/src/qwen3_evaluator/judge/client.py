"""One judge over HTTP: plain chat completions, with retry_policy, a cap and a bill.

Only what every OpenAI-compatible endpoint takes is sent: model, messages and temperature 0. No
limit of tokens: its name differs between servers, and a judge that thinks needs what it needs.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError

from qwen3_api.job.evaluate import EvalEndpoint, JudgePrice, JudgeUsage
from qwen3_api.pod.failure import FailureError, Retry
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_evaluator.endpoint.chat import describe_error, read_api_key

if TYPE_CHECKING:
    from qwen3_evaluator.endpoint.client import RetryPolicy

log = logging.getLogger(__name__)

KEY_NAME = "OPENAI_API_KEY"
"""Key of the Secret that an endpoint's secretRef names."""
REPLY_LIMIT = 4 << 20
"""Bytes that are read of a reply."""
_TRANSIENT = (408, 409, 425, 429)


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")
    content: str | None = None


class _Choice(BaseModel):
    model_config = ConfigDict(extra="ignore")
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    """What is read of a chat completion."""

    model_config = ConfigDict(extra="ignore")
    choices: list[_Choice]
    usage: dict[str, object] | None = None


@dataclass(frozen=True)
class Reply:
    """What a judge sent."""

    text: str
    """The message, or the whole body when it is no chat completion."""
    complete: bool
    """A chat completion that ended by itself."""


@dataclass
class Meter:
    """What the judges of a jury have cost, and what they may take together."""

    limit: int
    """Requests."""
    max_cost: float | None = None
    """In the currency of the prices."""
    cost: float = 0.0
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unreadable: int = 0
    disagreements: int = 0

    def count_request(self) -> None:
        """Count a request that is about to be sent. Raises FailureError: one too many, or the
        money is spent."""
        if self.requests >= self.limit:
            raise FailureError(
                Reason.INVALID_SPEC,
                f"the judges need more than judge.maxRequests, which is {self.limit}: that many "
                "requests were sent, tries that failed or could not be read among them",
                hint="Raise judge.maxRequests, or ask fewer questions (questions.limit, "
                "generation.samples).",
            )
        if self.max_cost is not None and self.cost >= self.max_cost:
            raise FailureError(
                Reason.INVALID_SPEC,
                f"the judges need more than judge.maxCost, which is {self.max_cost:g}: "
                f"{self.cost:.4g} is spent by {self.requests} requests",
                hint="Raise judge.maxCost, or ask fewer questions (questions.limit, "
                "generation.samples). A new evaluation begins from nothing.",
            )
        self.requests += 1

    def count_tokens(self, usage: Mapping[str, object] | None, price: JudgePrice | None) -> None:
        """Add the `usage` of a reply; a server that tells none adds nothing.

        Raises FailureError: it tells none, and there is a limit to keep.
        """
        told = [(usage or {}).get(name) for name in ("prompt_tokens", "completion_tokens")]
        if self.max_cost is not None and not all(isinstance(tokens, int) for tokens in told):
            raise FailureError(
                Reason.JUDGE_UNUSABLE,
                "a judge's server doesn't return the tokens of its replies (usage), so "
                "judge.maxCost can't be kept",
                hint="Leave judge.maxCost out; judge.maxRequests is a cap without prices.",
            )
        prompt, completion = (tokens if isinstance(tokens, int) else 0 for tokens in told)
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        if price is not None:
            self.cost += (prompt * price.prompt + completion * price.completion) / 1e6

    def to_usage(self) -> JudgeUsage:
        """The bill so far."""
        return JudgeUsage(
            requests=self.requests,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            cost=self.cost,
            unreadable=self.unreadable,
            disagreements=self.disagreements,
        )


class _AwayError(Exception):
    """A try failed in a way that may pass. `after` is when the server wants the next, in s."""

    def __init__(self, message: str, after: float = 0) -> None:
        super().__init__(message)
        self.after = after


class JudgeClient:
    """A judge's endpoint.

    Raises FailureError when made: its key is missing or can't be sent.
    """

    def __init__(
        self,
        endpoint: EvalEndpoint,
        http: aiohttp.ClientSession,
        retry_policy: "RetryPolicy",
        meter: Meter,
        price: JudgePrice | None = None,
    ) -> None:
        self.name = endpoint.name
        self._model = endpoint.model
        self._url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
        self._http = http
        self._retry_policy = retry_policy
        self._meter = meter
        self._price = price
        self._key = read_api_key(endpoint)
        self._not_before = 0.0

    def __str__(self) -> str:
        return f"judge {self.name} ({self._model} at {self._url})"

    async def complete(self, messages: list[dict[str, str]]) -> Reply:
        """Send the messages until there is a reply.

        Raises FailureError: JudgeUnavailable when it is away for longer than
        `retry_policy.endpoint_away` or refuses; the requests or the money are used up.
        """
        failing_since: float | None = None
        pause = self._retry_policy.first_pause
        while True:
            await self._wait_turn()
            began = time.monotonic()
            self._meter.count_request()
            try:
                return await self._post(messages)
            except _AwayError as error:
                failing_since = began if failing_since is None else failing_since
                jitter = random.uniform(pause / 2, pause)  # noqa: S311
                wait = max(error.after, jitter)
                failing = time.monotonic() - failing_since
                if failing + wait > self._retry_policy.endpoint_away:
                    raise self._give_up(error, failing) from error
                log.warning("asking again in %.1f s: %s: %s", wait, self, error)
                if error.after > 0:
                    # For the others too: whoever asks meanwhile is refused as well, and pays.
                    self._not_before = max(self._not_before, time.monotonic() + wait)
                else:
                    await asyncio.sleep(wait)
                pause = min(pause * 2, self._retry_policy.longest_pause)

    async def _wait_turn(self) -> None:
        """Return when the judge may be asked; apart from the others who waited."""
        while (left := self._not_before - time.monotonic()) > 0:  # noqa: ASYNC110  # it may move
            await asyncio.sleep(left + random.uniform(0, self._retry_policy.first_pause))  # noqa: S311

    async def _post(self, messages: list[dict[str, str]]) -> Reply:
        body = {"model": self._model, "messages": messages, "temperature": 0}
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        # A reply that takes as long as the judge may be away is none.
        timeout = aiohttp.ClientTimeout(total=self._retry_policy.endpoint_away, sock_connect=10)
        try:
            async with self._http.post(
                self._url, json=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                text = self._hide_key(await _read_text(response))
        except TimeoutError as error:
            raise _AwayError("no answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _AwayError(f"{type(error).__name__}: {error}") from error
        if response.status == 200:
            return self._parse(text)
        said = f"{response.status}: {describe_error(text)}"
        if response.status in _TRANSIENT or response.status >= 500:
            raise _AwayError(said, _retry_after(response.headers.get("Retry-After", "")))
        raise FailureError(
            Reason.JUDGE_UNAVAILABLE,
            f"{self} refused the request with {said}",
            hint=self._hint(response.status),
        )

    def _parse(self, text: str) -> Reply:
        try:
            completion = _Completion.model_validate_json(text)
        except ValidationError:
            return Reply(text, complete=False)
        self._meter.count_tokens(completion.usage, self._price)
        if not completion.choices:
            return Reply(text, complete=False)
        choice = completion.choices[0]
        return Reply(choice.message.content or "", complete=choice.finish_reason != "length")

    def _hide_key(self, text: str) -> str:
        """Some servers repeat the key that they refuse."""
        return text.replace(self._key, "…") if self._key else text

    def _hint(self, status: int) -> str:
        key = (
            f"its key ({KEY_NAME} in the Secret that its secretRef names)"
            if self._key
            else f"whether it wants a key (none is sent: {KEY_NAME} goes into a Secret that its "
            "secretRef names)"
        )
        if status in (401, 403):
            return f"Check judge {self.name}: {key}."
        if status in (400, 413, 422):
            return (
                f"Judge {self.name} must take a system message, temperature 0 and, in its context, "
                "the longest answers."
            )
        return (
            f"Check judge {self.name}: its url (with the version of the API, as in "
            f"https://models.example.com/v1), its model, {key}."
        )

    def _give_up(self, error: _AwayError, seconds: float) -> FailureError:
        wanted = f"; it wants {error.after:.0f} s of quiet" if error.after > 0 else ""
        return FailureError(
            Reason.JUDGE_UNAVAILABLE,
            f"{self}: no answer for {seconds:.0f} s; the last try: {error}{wanted}",
            hint=f"Check that the endpoint of judge {self.name} runs, can be reached from the "
            "evaluator's pod and allows as many requests as spec.runner.concurrency.",
            retry=Retry.BACKOFF,
        )


async def _read_text(response: aiohttp.ClientResponse) -> str:
    body = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > REPLY_LIMIT:
            break
    return body.decode(errors="replace")


def _retry_after(value: str) -> float:
    """Seconds of a Retry-After header, which may be a date (RFC 9110, 10.2.3); 0 without one."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return 0
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return seconds if math.isfinite(seconds) else 0
