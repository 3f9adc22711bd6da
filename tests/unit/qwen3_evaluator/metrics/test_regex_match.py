"""RegexMatch: a pattern of the row, which must end."""

import pytest

from qwen3_api.pod.failure import FailureError
from support.metrics import score


def test_the_pattern_is_found_anywhere() -> None:
    assert score("RegexMatch", "so it is 42.", pattern=r"\b42\b") == 1
    assert score("RegexMatch", "so it is 421.", pattern=r"\b42\b") == 0
    assert score("RegexMatch", "答案：四", pattern=r"答案[:：]\s*四") == 1


def test_a_pattern_that_never_ends_is_named() -> None:
    with pytest.raises(FailureError, match=r"one, line 3: field pattern takes longer") as caught:
        score("RegexMatch", "a" * 60 + "b", pattern=r"^(a|aa|aaa)+$")
    assert caught.value.failure.reason == "DatasetInvalid"
