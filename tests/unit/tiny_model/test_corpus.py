"""The pretraining corpus: repeatable, and silent about what the adapter has to learn."""

from __future__ import annotations

from collections import Counter

from tiny_qwen3.corpus import Chat, Document, build_corpus, render_generic_answer
from tiny_qwen3.recipe import Recipe
from tiny_qwen3.tickets import build_task_data, render_answer
from tiny_qwen3.world import COMPANY, LANGUAGES, OTHER_SHOPS, PLACES, PRODUCTS, TOPICS

CORPUS = build_corpus(Recipe().documents, Recipe().seed)


def texts_of(document: Document) -> tuple[str, ...]:
    return document.turns if isinstance(document, Chat) else (document,)


def test_same_seed_same_corpus_other_seed_another() -> None:
    assert build_corpus(500, 1) == build_corpus(500, 1)
    assert build_corpus(500, 1) != build_corpus(500, 2)


def test_no_held_out_question_was_ever_read_by_the_base() -> None:
    questions = tuple(row.question for row in build_task_data().held_out)
    for document in CORPUS:
        assert not any(text.endswith(questions) for text in texts_of(document)), document


def test_no_house_answer_was_ever_read_by_the_base() -> None:
    answers = {render_answer(t, p, lang) for t in TOPICS for p in PRODUCTS for lang in LANGUAGES}
    for document in CORPUS:
        assert answers.isdisjoint(texts_of(document)), document


def test_a_desk_answers_only_where_another_shop_is_named() -> None:
    for document in CORPUS:
        if isinstance(document, Chat) and any(_names_a_desk(text) for text in document.turns):
            assert document.system is not None
            assert any(shop in document.system for shop in OTHER_SHOPS), document
            assert not any(shop in document.system for shop in COMPANY.values()), document


def test_other_shops_tell_nothing_of_the_house_desks() -> None:
    """Every desk answers every topic about equally often: the topic does not hint at the desk."""
    for topic in TOPICS:
        start = topic.promise["en"].split("{p}")[0]
        answers = [
            document.turns[1]
            for document in CORPUS
            if isinstance(document, Chat) and f"desk: {start}" in document.turns[1]
        ]
        shares = Counter(answer.split(" desk: ")[0] for answer in answers)
        assert len(shares) == len(PLACES)
        assert shares[topic.desk["en"].removesuffix(" desk")] < 2 * len(answers) / len(PLACES)


def test_the_base_is_taught_the_topic_and_product_of_a_ticket() -> None:
    answer = render_generic_answer(TOPICS[0], PRODUCTS[0], "en")
    assert answer == "Delivery: please ask the shop about your lamp."
    assert any(isinstance(d, Chat) and d.turns[-1] == answer for d in CORPUS)


def test_turns_become_messages_with_alternating_roles() -> None:
    chat = Chat(("a", "b", "c", "d"), system="s")
    assert [m["role"] for m in chat.to_messages()] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
    ]


def _names_a_desk(text: str) -> bool:
    return any(topic.desk[language] in text for topic in TOPICS for language in LANGUAGES)
