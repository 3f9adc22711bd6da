"""ExactMatch, in both languages."""

import pytest

from qwen3_evaluator.metrics.text import is_same_text


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
    assert is_same_text(answer, expected) is right
