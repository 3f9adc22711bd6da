"""The loss of an expected answer from a server's log-probabilities."""

import math

import pytest

from qwen3_evaluator.metrics.assistant_loss import UnscorableError, compute_answer_loss


def logprobs(ids: list[int], values: list[float]) -> list[dict[str, dict[str, object]] | None]:
    """vLLM's shape: none for the first token, then one entry per token."""
    entries: list[dict[str, dict[str, object]] | None] = [None]
    for token, value in zip(ids[1:], values, strict=True):
        entries.append({str(token): {"logprob": value, "rank": 1}})
    return entries


def test_the_loss_covers_every_token_behind_the_prompt() -> None:
    ids = [10, 11, 12, 20, 21, 99]
    loss, tokens = compute_answer_loss(
        [10, 11, 12], ids, logprobs(ids, [-7.0, -8.0, -0.5, -0.25, -0.125])
    )
    assert (loss, tokens) == (0.875, 3)


@pytest.mark.parametrize(
    ("prompt", "conversation", "given", "words"),
    [
        ([1, 2, 3], [1, 9, 3, 4], [-1.0, -1.0, -1.0], "part at token 1 of 3"),
        ([1, 2, 3], [1, 2], [-1.0], "part at token 2 of 3"),
        ([1, 2], [1, 2], [-1.0], "no tokens"),
        ([1, 2], [1, 2, 3], [-1.0], "1 log-probabilities for 3"),
        ([1, 2], [1, 2, 3], [-1.0, math.nan], "no finite log-probability for token 3"),
        ([1, 2], [1, 2, 3], [-1.0, -math.inf], "no finite log-probability for token 3"),
    ],
)
def test_an_answer_that_cant_be_told_from_its_prompt_is_an_error(
    prompt: list[int], conversation: list[int], given: list[float], words: str
) -> None:
    entries = logprobs(conversation[: len(given) + 1], given)
    if "log-probabilities for" in words:
        entries = entries[:1]
    with pytest.raises(UnscorableError, match=words):
        compute_answer_loss(prompt, conversation, entries)


def test_a_logprob_of_another_token_is_an_error() -> None:
    with pytest.raises(UnscorableError, match="token 3"):
        compute_answer_loss(
            [1, 2], [1, 2, 3], [*logprobs([1, 2], [-1.0]), {"4": {"logprob": -1.0}}]
        )
