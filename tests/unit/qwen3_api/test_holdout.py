"""Is a question known from training: by the trainer's filter, asked as the evaluator asks it."""

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_api.job.holdout import (
    FEWEST_BITS,
    MOST_BITS,
    NGRAM,
    TrainingDigest,
    choose_bits,
    find_bits,
    find_entries,
    tokenize,
)
from qwen3_trainer.preflight.blocks import Wanted, check_rows, said_texts
from qwen3_trainer.preflight.digest import DigestBuilder
from support.preflight_runs import preflight_job
from support.rows import to_row

WORDS = [f"word{number}" for number in range(14)]
SHA = "0" * 64


def digest_of(*texts: str, limit: int = 10_000) -> TrainingDigest:
    """Of training rows with one text each, by way of the bucket's bytes."""
    builder = DigestBuilder(limit)
    for text in texts:
        builder.add(1, find_entries(text))
    return TrainingDigest.parse(builder.build(len(texts), SHA).to_bytes())


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hello,  World!", ["hello", "world"]),
        ("Straße №５ snake_case", ["strasse", "no5", "snake", "case"]),
        ("退货要几天? 30 days", ["退", "货", "要", "几", "天", "30", "days"]),
        ("コード", ["コ", "ー", "ド"]),
        ("어떻게 지내", ["어떻게", "지내"]),
        ("… !?", []),
    ],
)
def test_tokens(text: str, tokens: list[str]) -> None:
    assert tokenize(text) == tokens


@pytest.mark.parametrize(
    ("trained", "question", "how"),
    [
        ("How long do I have?", "how long  do I have", "Text"),
        ("How long do I have?", "How long do we have?", None),
        # Inside a longer text, whatever stands around it.
        (f"Context: {' '.join(WORDS)}. Answer now.", " ".join(WORDS), "NGrams"),
        (
            "Kontext: " + "".join("请问我在多长时间内可以退货呢谢谢"),
            "请问我在多长时间内可以退货呢谢",
            "NGrams",
        ),
        # One more word at its end: 2 of 3 runs are known, which is not enough; 7 of 8 are.
        (" ".join(WORDS), " ".join([*WORDS, "other"]), None),
        (" ".join(WORDS + WORDS[:6]), " ".join([*WORDS, *WORDS[:6], "other"]), "NGrams"),
        # Short questions have no run: only the whole text counts.
        (" ".join(WORDS), " ".join(WORDS[: NGRAM - 1]), None),
        ("a", "…", None),
    ],
)
def test_leaks(trained: str, question: str, how: str | None) -> None:
    assert digest_of("Something else.", trained).find_leak(question) == how


def test_a_question_that_shares_its_introduction_is_no_leak() -> None:
    """All rows of a task begin alike."""
    task = (
        "Answer the following question about our shop with a single sentence and be polite please:"
    )
    assert (
        digest_of(f"{task} How long is the warranty?").find_leak(
            f"{task} Which city is the repair centre in, and how do I reach it by train from here?"
        )
        is None
    )


@given(st.lists(st.text(max_size=60), min_size=1, max_size=20))
def test_what_was_trained_is_always_found(texts: list[str]) -> None:
    digest = digest_of(*texts)
    for text in texts:
        assert (digest.find_leak(text) == "Text") is bool(tokenize(text))


def test_what_was_not_trained_is_not_found() -> None:
    """As full as a filter gets."""
    count = FEWEST_BITS // 32
    digest = digest_of(*(f"row {n}" for n in range(count)), limit=count)
    assert digest.header.covered_rows == count
    assert digest.header.bits == FEWEST_BITS
    assert sum(digest.holds(find_entries(f"other {n}")[0]) for n in range(20_000)) == 0


def test_both_sides_set_and_read_the_same_bits() -> None:
    """The trainer's by numpy, the evaluator's in Python: bit for bit."""
    entries = find_entries(" ".join(f"w{n}" for n in range(300)))
    builder = DigestBuilder()
    builder.add(1, entries)
    digest = builder.build(1, SHA)
    expected = bytearray(digest.header.bits // 8)
    for entry in entries:
        for bit in find_bits(entry, digest.header.bits):
            expected[bit >> 3] |= 1 << (bit & 7)
    assert digest.filter == bytes(expected)


def test_a_digest_of_too_much_is_of_the_first_rows() -> None:
    builder = DigestBuilder(limit=5)
    for number in range(4):
        assert builder.has_room is (number <= 2)
        builder.add(10, array("Q", [number, number + 100]))
    builder.add(10, array("Q"))
    header = builder.build(50, SHA).header
    assert (header.covered_rows, header.rows) == (20, 50)


@pytest.mark.parametrize(
    ("entries", "bits"),
    [(0, FEWEST_BITS), (1 << 15, FEWEST_BITS), (32_769, 1 << 21), (1 << 40, MOST_BITS)],
)
def test_sizes(entries: int, bits: int) -> None:
    assert choose_bits(entries) == bits


@pytest.mark.parametrize(
    "cut", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b"{}\n", bytes.upper]
)
def test_what_is_no_digest_is_refused(cut: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  pydantic's is one
        TrainingDigest.parse(cut(digest_of("a").to_bytes()))


def test_what_people_and_the_model_say_counts() -> None:
    row = {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi"},
        ]
    }
    assert list(said_texts(to_row(row))) == ["Hello", "Hi"]

    def entries(wanted: Wanted) -> list[int]:
        data = preflight_job().dataset
        return list(check_rows(iter([(1, row)]), "rows", data, "SFT", wanted).entries)

    assert entries(Wanted(digest=True)) == [find_entries("Hello")[0], find_entries("Hi")[0]]
    assert not entries(Wanted())
