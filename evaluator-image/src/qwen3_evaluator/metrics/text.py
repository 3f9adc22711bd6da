"""Texts as the metrics compare them: normalised, in words, by patterns that end."""

import unicodedata

import regex

PATTERN_SECONDS = 1.0
"""Processor time that a regular expression may take on one answer."""

# Scripts that are written without spaces: each character is a word of its own.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}"
_WORD = regex.compile(rf"[{_UNSPACED}]|[\p{{L}}\p{{M}}\p{{N}}--[{_UNSPACED}]]+", regex.V1)


def normalise(text: str) -> str:
    """NFKC (full-width forms, ligatures, compatibility forms) without outer whitespace."""
    return unicodedata.normalize("NFKC", text).strip()


def fold(text: str) -> str:
    """Normalised text whose case doesn't count."""
    return normalise(text).casefold()


def split_words(text: str) -> list[str]:
    """Words; characters where a script has no spaces."""
    return _WORD.findall(text)


def is_same_text(answer: str, expected: str) -> bool:
    """Whether the answer is the expected one after normalisation; case counts."""
    return normalise(answer) == normalise(expected)


def f_measure(common: int, answered: int, right: int, answer: str, expected: str) -> float:
    """Harmonic mean of precision and recall; if either side has no words, 1 for the same text."""
    if not answered or not right:
        return float(is_same_text(answer, expected))
    return 2 * common / (answered + right)


def matches(pattern: str, text: str) -> bool:
    """Whether the pattern is found in the text. Raises TimeoutError."""
    return regex.search(pattern, text, timeout=PATTERN_SECONDS) is not None
