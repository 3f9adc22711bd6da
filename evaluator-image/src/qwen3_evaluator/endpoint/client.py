"""Asking: one question to one model through the OpenAI API, again and again until it answers.

Only `/v1/chat/completions` is used. An answer costs one request, however many metrics score it;
AssistantLoss costs one more, and another for the length of the prompt where no answer tells it
(none is asked for, or it was asked for with thinking).
"""

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from qwen3_api.job.evaluate import EvalEndpoint, EvalSample, EvalSuite
from qwen3_api.pod.failure import FailureError, Retry
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_evaluator.endpoint.chat import (
    TEMPLATE_FIELD,
    Body,
    Completion,
    Usage,
    build_answer_request,
    build_loss_request,
    build_prompt_request,
    build_timeout,
    describe_error,
    parse_completion,
    read_api_key,
)
from qwen3_evaluator.endpoint.thinking import split_thinking
from qwen3_evaluator.metrics import Scorer, needs_answer, needs_loss
from qwen3_evaluator.metrics.assistant_loss import UnscorableError, compute_answer_loss
from qwen3_evaluator.questions import Question

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetryPolicy:
    """How long a request is repeated before the evaluation gives up. All in seconds."""

    endpoint_away: float = 600
    """From the first failed try: a restart of vLLM takes minutes."""
    model_unknown: float = 60
    """For 404: a pod that restarts may answer a moment before its adapters are back."""
    first_pause: float = 0.5
    longest_pause: float = 15


@dataclass
class _Spent:
    """Tokens of the requests behind one sample; None as long as no reply told any."""

    prompt: int | None = None
    completion: int | None = None

    def add(self, usage: Usage | None) -> None:
        if usage is not None:
            self.prompt = (self.prompt or 0) + usage.prompt_tokens
            self.completion = (self.completion or 0) + usage.completion_tokens


class _TransientError(Exception):
    """A try failed in a way that may pass. `after` is when the server wants the next, in s."""

    def __init__(
        self, message: str, *, model_unknown: bool = False, after: float | None = None
    ) -> None:
        super().__init__(message)
        self.model_unknown = model_unknown
        self.after = after


class _RefusedError(Exception):
    """The server won't have the request as it is."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class EndpointClient:
    """One endpoint. Raises FailureError when made: its API key is missing."""

    def __init__(
        self, endpoint: EvalEndpoint, http: aiohttp.ClientSession, retry_policy: RetryPolicy
    ) -> None:
        self._endpoint = endpoint
        self._url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
        self._key = read_api_key(endpoint)
        self._http = http
        self._retry_policy = retry_policy
        self._takes_template_fields = True

    async def ask(
        self, suite: EvalSuite, question: Question, sample: int, scorer: Scorer
    ) -> EvalSample:
        """Ask what the suite's metrics need, score what can be scored without a judge.

        sample: which of the suite's answers, from 0; the loss belongs to the first.

        Raises FailureError: the endpoint is away, doesn't know the model, or refuses the
        question; the answer or the loss can't be scored.
        """
        where = f"suite {suite.name}, line {question.line}, model {self._endpoint.model}"
        with_loss = needs_loss(suite) and sample == 0
        answer: str | None = None
        reasoning: str | None = None
        prompt_ids: list[int] | None = None
        loss: float | None = None
        tokens: int | None = None
        spent = _Spent()
        if needs_answer(suite):
            # Without thinking this is the very prompt that the expected answer follows.
            token_ids = with_loss and not suite.thinking
            completion = await self._ask_answer(
                build_answer_request(
                    self._endpoint.model, suite, question, sample, token_ids=token_ids
                ),
                where,
            )
            spent.add(completion.usage)
            message = completion.choices[0].message
            reasoning, answer = split_thinking(
                message.content, message.reasoning or message.reasoning_content
            )
            prompt_ids = completion.prompt_token_ids if token_ids else None
        if with_loss:
            loss, tokens = await self._ask_loss(question, prompt_ids, where, spent)
        return EvalSample(
            suite=suite.name,
            model=self._endpoint.name,
            line=question.line,
            sample=sample,
            category=question.category,
            question=question.question,
            expected=question.answer,
            answer=answer,
            reasoning=reasoning,
            scores={} if answer is None else scorer.score(question, answer),
            loss=loss,
            answer_tokens=tokens,
            prompt_tokens=spent.prompt,
            completion_tokens=spent.completion,
        )

    async def _ask_answer(self, body: Body, where: str) -> Completion:
        """A server that refuses vLLM's way to switch thinking is asked once more without it."""
        plain = {name: value for name, value in body.items() if name != TEMPLATE_FIELD}
        try:
            return await self._complete(body if self._takes_template_fields else plain, where)
        except _RefusedError as error:
            if error.status not in (400, 422) or not self._takes_template_fields:
                raise self._refusal(error, where) from error
            first = error
        try:
            completion = await self._complete(plain, where)
        except _RefusedError as error:
            raise self._refusal(error, where) from error
        log.warning("%s: asked without %s: %s", self._url, TEMPLATE_FIELD, first)
        self._takes_template_fields = False
        return completion

    async def _ask_loss(
        self, question: Question, prompt_ids: list[int] | None, where: str, spent: _Spent
    ) -> tuple[float, int]:
        model = self._endpoint.model
        try:
            if prompt_ids is None:
                completion = await self._complete(build_prompt_request(model, question), where)
                spent.add(completion.usage)
                prompt_ids = completion.prompt_token_ids
            scored = await self._complete(build_loss_request(model, question), where)
            spent.add(scored.usage)
            if prompt_ids is None or scored.prompt_token_ids is None:
                raise UnscorableError("the server returns no prompt_token_ids; vLLM 0.10.2 does")
            return compute_answer_loss(
                prompt_ids, scored.prompt_token_ids, scored.prompt_logprobs or []
            )
        except _RefusedError as error:
            raise self._refusal(error, where) from error
        except UnscorableError as error:
            raise FailureError(
                Reason.EVALUATOR_FAILED,
                f"{where}: AssistantLoss can't be computed: {error}",
                hint="The answer must follow the chat template's prompt as it is: without think "
                "tags and without leading blank lines. Thinking-only models have no such prompt, "
                "and servers other than vLLM return no log-probabilities of it; leave "
                "AssistantLoss out for those.",
            ) from error

    def _refusal(self, error: _RefusedError, where: str) -> FailureError:
        hint = (
            "If the question is too long for the model, shorten it or lower generation.maxTokens."
        )
        if error.status in (401, 403):
            hint = (
                "Check OPENAI_API_KEY in the Secret that the endpoint's secretRef names."
                if self._key
                else "No key was sent: the endpoint's secretRef names a Secret with OPENAI_API_KEY."
            )
        return FailureError(
            Reason.EVALUATOR_FAILED,
            f"{where} at {self._url}: the server refused the request with {error}",
            hint=hint,
        )

    async def _complete(self, body: Body, where: str) -> Completion:
        failing_since: float | None = None
        pause = self._retry_policy.first_pause
        where = f"{where} at {self._url}"
        while True:
            try:
                return await self._post(body, where)
            except _TransientError as error:
                now = time.monotonic()
                failing_since = now if failing_since is None else failing_since
                limit = (
                    self._retry_policy.model_unknown
                    if error.model_unknown
                    else self._retry_policy.endpoint_away
                )
                if now - failing_since >= limit:
                    raise _give_up(error, where, now - failing_since) from error
                wait = error.after or random.uniform(pause / 2, pause)  # noqa: S311  # jitter
                log.warning("asking again in %.1f s: %s: %s", wait, where, error)
                await asyncio.sleep(wait)
                pause = min(pause * 2, self._retry_policy.longest_pause)

    async def _post(self, body: Body, where: str) -> Completion:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            async with self._http.post(
                self._url,
                json=body,
                headers=headers,
                timeout=build_timeout(body["max_tokens"]),
                allow_redirects=False,
            ) as response:
                text = await response.text(errors="replace")
        except TimeoutError as error:
            raise _TransientError("no answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _TransientError(f"{type(error).__name__}: {error}") from error
        if response.status == 200:
            return parse_completion(text, where)
        said = describe_error(self._hide_key(text))
        if response.status == 404:
            raise _TransientError(f"404: {said}", model_unknown=True)
        if response.status in (408, 409, 425, 429) or response.status >= 500:
            raise _TransientError(
                f"{response.status}: {said}",
                after=_retry_after(response.headers, self._retry_policy),
            )
        raise _RefusedError(response.status, said)

    def _hide_key(self, text: str) -> str:
        """Some servers repeat the key that they refuse."""
        return text.replace(self._key, "…") if self._key else text


def _retry_after(headers: Mapping[str, str], retry_policy: RetryPolicy) -> float | None:
    seconds = headers.get("Retry-After", "")
    return min(float(seconds), retry_policy.longest_pause) if seconds.isdecimal() else None


def _give_up(error: _TransientError, where: str, seconds: float) -> FailureError:
    if error.model_unknown:
        return FailureError(
            Reason.EVALUATOR_FAILED,
            f"{where}: the server doesn't know the model ({error})",
            hint="It was probably replaced or removed; apply a new evaluation of what serves now.",
        )
    return FailureError(
        Reason.EVALUATOR_FAILED,
        f"{where}: no answer for {seconds:.0f} s; the last try: {error}",
        hint="Look at the pods of the serving pool, or at the endpoint.",
        retry=Retry.BACKOFF,
    )
