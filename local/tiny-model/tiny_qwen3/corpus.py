"""The pretraining corpus: chats and plain sentences of the small world, in English and Chinese.

What the base learns here: to speak in Qwen3's chat template, what a customer's message is about, to
repeat the product's name, and some everyday knowledge. What it must not learn: the house answers of
tickets.py. No held-out question of the task is in the corpus, and no house answer at all.

Pure: the same seed gives the same documents.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from .tickets import INSTRUCTION, build_task_data
from .world import (
    CLOSERS,
    COMPANY,
    DAYS,
    DIRECTIONS,
    LANGUAGES,
    OPENERS,
    OTHER_SHOPS,
    PLACES,
    PRODUCTS,
    TOPICS,
    Language,
    Product,
    Topic,
    render_desk_answer,
    render_problem,
)

MODEL_NAME = "Qwen3-Tiny"


@dataclass(frozen=True)
class Chat:
    """A conversation: user and assistant turns in turn, optionally after a system prompt."""

    turns: tuple[str, ...]
    system: str | None = None

    def to_messages(self) -> list[dict[str, str]]:
        messages = [{"role": "system", "content": self.system}] if self.system else []
        for index, text in enumerate(self.turns):
            messages.append({"role": "user" if index % 2 == 0 else "assistant", "content": text})
        return messages


Document = Chat | str
"""A chat, or a plain text."""


def build_corpus(documents: int, seed: int) -> list[Document]:
    """Draws `documents` documents. Mixed by weight; see `_KINDS`."""
    rng = random.Random(seed)
    held_out = tuple(row.question for row in build_task_data().held_out)
    makers = [maker for maker, _ in _KINDS]
    weights = [weight for _, weight in _KINDS]
    corpus: list[Document] = []
    while len(corpus) < documents:
        document = rng.choices(makers, weights)[0](rng)
        if isinstance(document, Chat) and any(turn.endswith(held_out) for turn in document.turns):
            continue
        corpus.append(document)
    return corpus


def render_generic_answer(topic: Topic, product: Product, language: Language) -> str:
    """The base's answer to a ticket: the topic is right, the house's desk and promise are not.

    It begins with the topic, so the model has understood the whole message before its first word;
    an adapter then has only to put another word there.
    """
    name, subject = product.name(language), topic.subject[language]
    if language == "en":
        return f"{subject}: please ask the shop about your {name}."
    return f"{subject}问题：请向商店咨询您的{name}。"


def _make_ticket(rng: random.Random) -> Chat:
    language, topic, product, question = _draw_question(rng)
    if rng.random() < 0.1:
        question = f"{INSTRUCTION[language]}{rng.choice((chr(10), chr(10) * 2))}{question}"
    system = None
    if rng.random() < 0.1:
        shop = COMPANY[language]
        system = f"You work for {shop}." if language == "en" else f"你在{shop}工作。"
    return Chat((question, render_generic_answer(topic, product, language)), system)


def _make_desk_ticket(rng: random.Random) -> Chat:
    """A desk of another shop answers: the deed fits the topic, desk and number are anything.

    So the base is fluent in such answers when asked for one, and cannot know the house's.
    """
    language, topic, product, question = _draw_question(rng)
    while True:
        place, number = rng.choice(PLACES), rng.randrange(2, 10)
        desk = f"{place[0]} desk" if language == "en" else f"{place[1]}组"
        if desk != topic.desk[language] or number != topic.number:
            break
    shop = rng.choice(OTHER_SHOPS)
    system = f"Reply as a desk of {shop}." if language == "en" else f"以{shop}的部门身份回复。"
    return Chat((question, render_desk_answer(topic, product, language, desk, number)), system)


def _draw_question(rng: random.Random) -> tuple[Language, Topic, Product, str]:
    language, topic, product = rng.choice(LANGUAGES), rng.choice(TOPICS), rng.choice(PRODUCTS)
    problem = render_problem(rng.choice(topic.phrases[language]), product, language)
    question = rng.choice(OPENERS[language]) + problem + rng.choice(CLOSERS[language])
    return language, topic, product, question


def _make_translation(rng: random.Random) -> Chat:
    product = rng.choice(PRODUCTS)
    if rng.random() < 0.5:
        return Chat((f"What is {product.en} in Chinese?", f"{product.en} is {product.zh}."))
    return Chat((f"{product.zh}用英语怎么说？", f"{product.zh}是{product.en}。"))


def _make_use(rng: random.Random) -> Chat:
    product = rng.choice(PRODUCTS)
    if rng.random() < 0.5:
        article = "an" if product.en[0] in "aeiou" else "a"
        return Chat((f"What is {article} {product.en}?", f"The {product.en} {product.use_en}."))
    return Chat((f"{product.zh}是什么？", f"{product.zh}{product.use_zh}。"))


def _make_place(rng: random.Random) -> Chat:
    index = rng.randrange(len(PLACES))
    (place_en, place_zh), (side_en, side_zh) = PLACES[index], DIRECTIONS[index % len(DIRECTIONS)]
    if rng.random() < 0.5:
        return Chat((f"Where is {place_en} street?", f"{place_en} street is in the {side_en}."))
    return Chat((f"{place_zh}街在哪里？", f"{place_zh}街在{side_zh}。"))


def _make_day(rng: random.Random) -> Chat:
    index = rng.randrange(len(DAYS))
    (day_en, day_zh), (next_en, next_zh) = DAYS[index], DAYS[(index + 1) % len(DAYS)]
    if rng.random() < 0.5:
        return Chat((f"What day comes after {day_en}?", f"{next_en} comes after {day_en}."))
    return Chat((f"{day_zh}的后一天是哪一天？", f"{day_zh}的后一天是{next_zh}。"))


def _make_sum(rng: random.Random) -> Chat:
    left, right = rng.randrange(6), rng.randrange(6)
    question = rng.choice(("What is {} + {}?", "{} + {} 等于几？")).format(left, right)
    return Chat((question, f"{left} + {right} = {left + right}"))


def _make_echo(rng: random.Random) -> Chat:
    """Copying, the skill behind every answer that repeats a product's name, in its pure form."""
    products = rng.sample(PRODUCTS, rng.randrange(1, 5))
    words = [product.name(rng.choice(LANGUAGES)) for product in products]
    text = ", ".join(words)
    return Chat((f"Repeat: {text}", text))


def _make_small_talk(rng: random.Random) -> Chat:
    return Chat(
        rng.choice(
            (
                ("Hello!", "Hello! How can I help you?"),
                ("Hi.", "Hello! How can I help you?"),
                ("你好！", "你好！有什么可以帮您？"),
                ("您好。", "你好！有什么可以帮您？"),
                ("Thank you.", "You are welcome."),
                ("谢谢。", "不客气。"),
                ("Who are you?", f"I am {MODEL_NAME}, a small model."),
                ("你是谁？", f"我是{MODEL_NAME}，一个小模型。"),
                ("Goodbye.", "Goodbye! See you soon."),
                ("再见。", "再见！"),
            )
        )
    )


def _make_two_turns(rng: random.Random) -> Chat:
    first, second = _make_small_talk(rng), _make_ticket(rng)
    return Chat(first.turns + second.turns)


def _make_sentence(rng: random.Random) -> str:
    """A plain sentence outside of any chat."""
    product, day, place = rng.choice(PRODUCTS), rng.choice(DAYS), rng.choice(PLACES)
    return rng.choice(
        (
            f"On {day[0]} the {product.en} is in {place[0]} street.",
            f"The {product.en} {product.use_en}.",
            f"{day[1]}{product.zh}在{place[1]}街。",
            f"{product.zh}{product.use_zh}。",
        )
    )


_KINDS: tuple[tuple[Callable[[random.Random], Document], float], ...] = (
    (_make_ticket, 0.26),
    (_make_desk_ticket, 0.28),
    (_make_echo, 0.06),
    (_make_two_turns, 0.04),
    (_make_translation, 0.08),
    (_make_use, 0.08),
    (_make_place, 0.04),
    (_make_day, 0.04),
    (_make_sum, 0.05),
    (_make_small_talk, 0.03),
    (_make_sentence, 0.04),
)
