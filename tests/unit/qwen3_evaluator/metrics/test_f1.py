"""F1 as SQuAD and CMRC count it."""

import pytest

from qwen3_evaluator.metrics.f1 import compute_f1


@pytest.mark.parametrize(
    ("answer", "expected", "score"),
    [
        ("The Eiffel Tower!", "eiffel tower", 1.0),
        ("in Paris, France", "Paris", 0.5),
        ("Paris Paris", "Paris", 2 / 3),
        ("London", "Paris", 0.0),
        ("", "Paris", 0.0),
        ("东京是日本的首都。", "日本的首都是东京", 1.0),
        ("答案是四", "四", 0.4),
        ("答案 是 42", "答案是42。", 1.0),
        ("ＡＢＣ", "abc", 1.0),
        ("the", "the", 1.0),
        ("?", "!", 0.0),
    ],
)
def test_f1_counts_words_and_chinese_characters(answer: str, expected: str, score: float) -> None:
    assert compute_f1(answer, expected) == pytest.approx(score)
