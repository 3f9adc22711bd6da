"""BLEU against sacrebleu itself."""

import pytest
import sacrebleu

from qwen3_evaluator.metrics.bleu import compute_bleu


@pytest.mark.parametrize(
    ("answer", "expected", "tokenizer"),
    [
        ("the cat sat on the mat", "the cat sat on a mat", "13a"),
        ("the cat", "the cat sat on a mat", "13a"),
        ("东京是日本的首都", "东京是日本首都", "zh"),
        ("首都は東京です", "日本の首都は東京です", "char"),
    ],
)
def test_bleu_is_that_of_sacrebleu(answer: str, expected: str, tokenizer: str) -> None:
    right = sacrebleu.sentence_bleu(
        answer, [expected], tokenize=tokenizer, use_effective_order=True, smooth_method="exp"
    )
    assert compute_bleu(answer, expected) == pytest.approx(right.score / 100)
    assert 0 < right.score < 100


def test_bleu_of_the_same_text_is_one_and_of_none_is_zero() -> None:
    # Fewer than four words: without the effective order this would be next to nothing.
    assert compute_bleu("Berlin", "Berlin") == 1
    assert compute_bleu("这是四", "这是四") == 1
    assert compute_bleu("", "Berlin") == 0
