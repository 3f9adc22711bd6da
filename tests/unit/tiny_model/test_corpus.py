"""The pretraining corpus: repeatable, and silent about what the adapter has to learn."""

from __future__ import annotations

from tiny_qwen3.corpus import Chat, Document, build_corpus, render_generic_answer
from tiny_qwen3.recipe import Recipe
from tiny_qwen3.tickets import build_task_data, render_answer
from tiny_qwen3.world import LANGUAGES, PRODUCTS, TOPICS

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


def test_no_desk_is_named_in_a_chat_about_a_ticket() -> None:
    desks = tuple(topic.desk[language] for topic in TOPICS for language in LANGUAGES)
    for document in CORPUS:
        if isinstance(document, Chat):
            assert not any(desk in text for text in document.turns for desk in desks), document


def test_the_base_is_taught_the_topic_and_product_of_a_ticket() -> None:
    answer = render_generic_answer(TOPICS[0], PRODUCTS[0], "en")
    assert answer == "This is about the delivery of your lamp. Please ask the shop."
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
