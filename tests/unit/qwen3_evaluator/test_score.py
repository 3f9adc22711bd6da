"""Scoring: thinking, matching, losses, aggregation."""

import math

import pytest

from qwen3_api.job.base import S3Location
from qwen3_api.job.evaluate import EvalEndpoint, EvalJob, EvalSample, EvalSuite
from qwen3_api.job.train import FileData
from qwen3_evaluator.score import (
    UnscorableError,
    aggregate,
    compute_answer_loss,
    is_exact_match,
    strip_thinking,
)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Berlin", "Berlin"),
        ("<think>\n\n</think>\n\nBerlin", "Berlin"),
        ("\n<think>\nIs it Bonn?\nNo.\n</think>\n\nBerlin", "Berlin"),
        ("It is Bonn. No.\n</think>\n\nBerlin", "Berlin"),
        ("<think>\nstill at it", ""),
        ("<think>\n\n</think>\n\n", ""),
        (None, ""),
        ("a < b", "a < b"),
        ("<think></think>1<think></think>2", "1<think></think>2"),
    ],
)
def test_the_think_block_is_no_part_of_the_answer(content: str | None, text: str) -> None:
    assert strip_thinking(content) == text


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        ("Berlin", "Berlin", True),
        (" Berlin\n", "Berlin", True),
        ("Berlin", "\tBerlin ", True),
        ("berlin", "Berlin", False),
        ("Berlin.", "Berlin", False),
        ("ABC１２３！", "ABC123!", True),
        ("ﬁve", "five", True),
        ("e\u0301", "é", True),
        ("答案：四", "答案:四", True),
        ("", "Berlin", False),
    ],
)
def test_exact_match_compares_normalised_and_trimmed_text(
    answer: str, expected: str, right: bool
) -> None:
    assert is_exact_match(answer, expected) is right


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


def sample(
    suite: str, model: str, right: bool | None, loss: float, answer_tokens: int
) -> EvalSample:
    return EvalSample(
        suite=suite,
        model=model,
        line=1,
        category=None,
        question="q",
        expected="a",
        answer=None if right is None else "a",
        exact_match=right,
        loss=loss,
        answer_tokens=answer_tokens,
    )


def suite(name: str, *metrics: str) -> EvalSuite:
    return EvalSuite.model_validate(
        {
            "name": name,
            "data": FileData(path="/x", source="x"),
            "metrics": metrics,
            "limit": None,
            "max_tokens": 8,
            "temperature": 0,
            "thinking": False,
            "seed": 1,
        }
    )


def test_results_follow_the_job_and_weigh_losses_by_tokens() -> None:
    job = EvalJob(
        namespace="a",
        name="e",
        uid="u",
        target=EvalEndpoint(name="target", base_url="http://p/v1", model="a.b.12345678"),
        baselines=[EvalEndpoint(name="base", base_url="http://p/v1", model="Qwen/Qwen3-8B")],
        suites=[suite("one", "ExactMatch", "AssistantLoss"), suite("two", "AssistantLoss")],
        concurrency=1,
        output=S3Location(endpoint=None, region=None, bucket="b", prefix="p"),
    )
    results = aggregate(
        job,
        [
            sample("one", "target", True, 2.0, 1),
            sample("one", "target", False, 2.0, 7),
            sample("one", "base", False, 9.0, 3),
            sample("one", "base", False, 0.0, 6),
            sample("two", "target", None, 3.0, 2),
            sample("two", "base", None, 1.0, 2),
        ],
    )
    assert [(r.suite, r.model, r.metric, r.value, r.samples) for r in results] == [
        ("one", "target", "ExactMatch", 0.5, 2),
        ("one", "target", "AssistantLoss", 0.5, 2),
        ("one", "base", "ExactMatch", 0.0, 2),
        ("one", "base", "AssistantLoss", 1.0, 2),
        ("two", "target", "AssistantLoss", 1.5, 1),
        ("two", "base", "AssistantLoss", 0.5, 1),
    ]
