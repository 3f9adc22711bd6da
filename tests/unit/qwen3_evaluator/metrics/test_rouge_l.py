"""RougeL against rouge-score 0.1.2 (no stemmer), in both languages, and at the edges."""

import random
import time
from itertools import combinations

import pytest

from qwen3_evaluator.metrics.rouge_l import compute_rouge_l, longest_common_subsequence


@pytest.mark.parametrize(
    ("answer", "expected", "score"),
    [
        ("the cat was found under the bed", "the cat was under the bed", 0.923076923076923),
        ("It's 42, isn't it? Yes: 42.", "Is it 42? Yes, it's 42.", 0.5333333333333333),
        ("police killed the gunman", "police kill the gunman", 0.75),
        ("", "x", 0.0),
        ("A B C D E F G", "g a b X c Y d", 0.5714285714285714),
        (
            "The U.S. economy grew 3.5% in 2019",
            "the US economy grew by 3.5 % in 2019.",
            0.7777777777777778,
        ),
    ],
)
def test_rouge_l_is_that_of_rouge_score(answer: str, expected: str, score: float) -> None:
    assert compute_rouge_l(answer, expected) == pytest.approx(score)


def test_rouge_l_counts_chinese_by_characters() -> None:
    assert compute_rouge_l("东京是日本的首都。", "东京是日本首都") == pytest.approx(14 / 15)
    assert compute_rouge_l("首都东京", "东京首都") == pytest.approx(0.5)


def test_the_subsequence_is_the_longest() -> None:
    rng = random.Random(7)  # noqa: S311  # test data
    for _ in range(200):
        left, right = (rng.choices("abc", k=rng.randint(0, 7)) for _ in range(2))
        parts = {p for k in range(8) for p in combinations(left, k)}
        longest = max(len(p) for k in range(8) for p in combinations(right, k) if p in parts)
        assert longest_common_subsequence(left, right) == longest


def test_an_endless_answer_is_scored_at_once() -> None:
    rng = random.Random(7)  # noqa: S311  # test data
    answer, expected = ("".join(rng.choices("的一是不了", k=k)) for k in (30_000, 8_000))
    began = time.process_time()
    assert 0 < compute_rouge_l(answer, expected) < 1
    assert time.process_time() - began < 2
