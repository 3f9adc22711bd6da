"""Scoring: pure functions from what a server answered to numbers."""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from qwen3_api.job.evaluate import EvalJob, EvalResult, EvalSample, MetricName

_THINKING = re.compile(r"\A\s*(?:<think>)?.*?</think>\s*", re.DOTALL)


class UnscorableError(Exception):
    """The server's reply doesn't tell the answer's log-likelihood; the text says why."""


def strip_thinking(content: str | None) -> str:
    """The text after the think block, without the block's trailing whitespace.

    A server without a reasoning parser leaves the block (empty when thinking is off) in the
    content. A block that never closes ran out of tokens: there is no answer after it. The opening
    tag may be missing: templates of thinking-only models put it into the prompt.
    """
    text = content or ""
    if "</think>" in text:
        return _THINKING.sub("", text, count=1)
    return "" if text.lstrip().startswith("<think>") else text


def normalise(text: str) -> str:
    """NFKC (full-width forms, ligatures, compatibility forms) without outer whitespace."""
    return unicodedata.normalize("NFKC", text).strip()


def is_exact_match(answer: str, expected: str) -> bool:
    """Whether the answer is the expected one after normalisation; case counts."""
    return normalise(answer) == normalise(expected)


def compute_answer_loss(
    prompt_ids: Sequence[int],
    conversation_ids: Sequence[int],
    logprobs: Sequence[Mapping[str, Mapping[str, object]] | None],
) -> tuple[float, int]:
    """Sum of negative log-likelihoods of the answer's tokens in nats, and how many they are.

    prompt_ids: the prompt up to where the model would begin to answer.
    conversation_ids: the same with the answer, closed as the chat template closes a turn.
    logprobs: vLLM's `prompt_logprobs` of the conversation: an item per token, each a map from
      token id (as text) to `{"logprob": …}`; the first token has none.

    The answer is everything behind the prompt, so the closing `<|im_end|>` and newline count, as
    they do in training with assistant-only loss. Raises UnscorableError.
    """
    start = len(prompt_ids)
    if list(conversation_ids[:start]) != list(prompt_ids):
        at = next(
            (
                i
                for i, (a, b) in enumerate(zip(prompt_ids, conversation_ids, strict=False))
                if a != b
            ),
            len(conversation_ids),
        )
        raise UnscorableError(
            "the prompt is not a prefix of prompt and answer: they part at token "
            f"{at} of {start}, so the answer's tokens can't be told from the prompt's"
        )
    if len(logprobs) != len(conversation_ids):
        raise UnscorableError(
            f"the server gave {len(logprobs)} log-probabilities for {len(conversation_ids)} tokens"
        )
    answer = list(zip(conversation_ids, logprobs, strict=True))[start:]
    if not answer:
        raise UnscorableError("the answer has no tokens")
    return -math.fsum(_logprob(token, position) for token, position in answer), len(answer)


def _logprob(token: int, position: Mapping[str, Mapping[str, object]] | None) -> float:
    entry = (position or {}).get(str(token), {}).get("logprob")
    if not isinstance(entry, int | float) or not math.isfinite(entry):
        raise UnscorableError(f"the server gave no finite log-probability for token {token}")
    return float(entry)


def aggregate(job: EvalJob, samples: Iterable[EvalSample]) -> list[EvalResult]:
    """One result per suite, model and metric, in the order of the job.

    AssistantLoss is the sum of losses over the sum of tokens: a long answer weighs more than a
    short one, as in training.
    """
    groups: dict[tuple[str, str], list[EvalSample]] = {}
    for sample in samples:
        groups.setdefault((sample.suite, sample.model), []).append(sample)
    return [
        _result(suite.name, metric, endpoint.name, groups[suite.name, endpoint.name])
        for suite in job.suites
        for endpoint in (job.target, *job.baselines)
        for metric in suite.metrics
    ]


def _result(suite: str, metric: MetricName, model: str, samples: list[EvalSample]) -> EvalResult:
    match metric:
        case "ExactMatch":
            values = [s.exact_match for s in samples if s.exact_match is not None]
            value = sum(values) / len(values)
            count = len(values)
        case "AssistantLoss":
            losses = [
                (s.loss, s.answer_tokens)
                for s in samples
                if s.loss is not None and s.answer_tokens is not None
            ]
            value = math.fsum(loss for loss, _ in losses) / sum(tokens for _, tokens in losses)
            count = len(losses)
    return EvalResult(suite=suite, metric=metric, model=model, value=value, samples=count)
