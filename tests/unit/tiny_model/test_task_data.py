"""The task's data: committed as generated, without leakage, and new where it says it is new."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from make_data import render_files
from tiny_qwen3.tickets import HELD_OUT_PRODUCTS, build_task_data, render_answer
from tiny_qwen3.world import CLOSERS, HELD_OUT_PHRASES, LANGUAGES, OPENERS, PRODUCTS, TOPICS

DATA = build_task_data()


def read_rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def normalise(text: str) -> str:
    """Case, width, punctuation and spaces do not make a question new."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold())


def digest(text: str) -> str:
    return hashlib.sha256(normalise(text).encode()).hexdigest()


@pytest.mark.parametrize("name", sorted(render_files()))
def test_committed_file_is_what_the_generator_writes(examples: Path, name: str) -> None:
    assert (examples / name).read_text("utf-8") == render_files()[name]


def test_no_question_is_in_two_splits(examples: Path) -> None:
    folder = examples / "01-quickstart" / "data"
    train, validation = (
        {digest(row["messages"][0]["content"]) for row in read_rows(folder / name)}  # type: ignore[index]
        for name in ("train.jsonl", "validation.jsonl")
    )
    held_out = {digest(str(row["question"])) for row in read_rows(folder / "heldout.jsonl")}
    alpaca = {
        digest(str(row["input"])) for row in read_rows(examples / "04-alpaca/data/train.jsonl")
    }
    assert (len(train), len(validation), len(held_out)) == (384, 32, 48)
    assert train.isdisjoint(held_out)
    assert train.isdisjoint(validation)
    assert validation.isdisjoint(held_out)
    assert alpaca == train


def test_no_held_out_question_contains_a_training_sentence() -> None:
    """Greetings around a known sentence do not make it new."""
    cores = {normalise(core) for row in DATA.train for core in [_strip(row.question)]}
    leaked = [row for row in DATA.held_out if normalise(_strip(row.question)) in cores]
    assert leaked == []


def test_held_out_rows_are_new_in_the_way_they_say() -> None:
    known = PRODUCTS[:-HELD_OUT_PRODUCTS]
    topics = {topic.key: topic for topic in TOPICS}
    for row in DATA.held_out:
        names_known = any(_names(row.question, p.name(row.language)) for p in known)
        assert names_known == (row.novelty == "phrase"), row
        phrases = topics[row.topic].phrases[row.language]
        unseen = phrases[-HELD_OUT_PHRASES:]
        used = [
            p
            for p in phrases
            if any(_is_phrase(row.question, p, q.name(row.language)) for q in PRODUCTS)
        ]
        assert len(used) == 1, row
        assert (used[0] in unseen) == (row.novelty in ("phrase", "both")), row


def test_training_never_shows_a_held_out_product_or_phrase() -> None:
    for row in (*DATA.train, *DATA.validation):
        for product in PRODUCTS[-HELD_OUT_PRODUCTS:]:
            assert not _names(row.question, product.name(row.language)), row
        for topic in TOPICS:
            for phrase in topic.phrases[row.language][-HELD_OUT_PHRASES:]:
                assert not any(
                    _is_phrase(row.question, phrase, p.name(row.language)) for p in PRODUCTS
                ), row


def test_every_category_is_equally_frequent() -> None:
    for split, each in ((DATA.train, 24), (DATA.validation, 2), (DATA.held_out, 3)):
        counts = Counter(row.category for row in split)
        assert counts == {f"{t.key}-{language}": each for t in TOPICS for language in LANGUAGES}


def test_no_two_topics_share_an_answer() -> None:
    for language in LANGUAGES:
        answers = {render_answer(topic, PRODUCTS[0], language) for topic in TOPICS}
        assert len(answers) == len(TOPICS)


def _strip(question: str) -> str:
    """The middle sentence, without greeting and thanks."""
    for language in LANGUAGES:
        for opener in filter(None, OPENERS[language]):
            question = question.removeprefix(opener)
        for closer in filter(None, CLOSERS[language]):
            question = question.removesuffix(closer)
    return question


def _names(question: str, product: str) -> bool:
    pattern = rf"\b{product}\b" if product.isascii() else product
    return re.search(pattern, question) is not None


def _is_phrase(question: str, phrase: str, product: str) -> bool:
    return normalise(_strip(question)) == normalise(phrase.format(p=product))
