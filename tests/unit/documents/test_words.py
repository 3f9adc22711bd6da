"""The word list: private words are found, and the same words in their ordinary sense aren't."""

import ast

import pytest

from tools.words import QUESTION_START, docstrings, find_words, strings


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What serves now goes on serving.", ["What serves", "goes on"]),
        ("the trainer ended without a word", ["without a word"]),
        ("Mend it; it is made again.", ["Mend", "made again"]),
        ("planned for the card of 24 GiB", ["planned for the card"]),
        ("fits on one\n    card", ["on one card"]),
        ("the candidate is asked 48 questions", ["is asked"]),
        ("no GPU is asked for", ["is asked"]),
        ("the adapter lies in the bucket", ["lies"]),
        ("the whole order, of the order", ["whole order", "of the order"]),
        ("loaded for a guest of the pool", ["guest"]),
        ("a foreign Job of that name", ["foreign"]),
        ("longer than the model's window", ["model's window"]),
        ("The operator may be away", ["be away"]),
        ("the message has its last words", ["last words"]),
        ("unless fewShot says; the spec says 3", ["spec says"]),
    ],
)
def test_private_words_are_found(text: str, found: list[str]) -> None:
    assert [words for _, words, _ in find_words(text)] == found


@pytest.mark.parametrize(
    "text",
    [
        "the model card of the adapter, and its license",
        "the base's card can't be parsed",
        "rows are read in the order of the file; in order to resume",
        "the run fits on the GPU",
        "the message says what to change",
        "mean training loss of the last logged window",
        "an external Job of that name",
        "kubectl rollout restart, reboot",
        "an applied patch belongs to the object",
        "questions and answers; ask a judge",
    ],
)
def test_ordinary_words_are_not(text: str) -> None:
    assert find_words(text) == []


def test_a_finding_has_its_line_and_the_better_word() -> None:
    assert find_words("one\ntwo\nthe run goes\non") == [
        (2, "goes on", "continue, resume, stay in service")
    ]


def test_docstrings_and_messages_are_distinguished() -> None:
    tree = ast.parse(
        '"""What."""\nX: int = 1\n"""Of X."""\ndef f():\n    """Doc."""\n    g("text")\n'
    )
    found = [str(constant.value) for constant in docstrings(tree)]
    assert sorted(found) == ["Doc.", "Of X.", "What."]
    assert [constant.value for constant in strings(tree)] == ["text"]
    assert [doc for doc in found if QUESTION_START.match(doc)] == ["What.", "Of X."]
