"""The project's own task: answer a customer of Tidepool Home in the house format, in two languages.

A row asks about a product and a topic; the right answer names desk, product and promise:
"Harbor desk: we trace your lamp and reply in 2 days." / "港口组：我们会追踪您的台灯，2天内回复。".
Held-out rows use phrases, or products, or both, that no training row uses.

Pure: the same seed gives the same rows.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from .world import (
    CLOSERS,
    COMPANY,
    HELD_OUT_PHRASES,
    LANGUAGES,
    OPENERS,
    PRODUCTS,
    TOPICS,
    Language,
    Product,
    Topic,
    render_desk_answer,
    render_problem,
)

TASK_SEED = 20261124
TRAIN_ROWS_PER_TOPIC = 24
"""Per topic and language: 8 topics x 2 languages x 24 = 384 training rows."""
VALIDATION_ROWS_PER_TOPIC = 2
HELD_OUT_PRODUCTS = 6
"""The last products of the world, which no training or validation row mentions."""

Novelty = Literal["none", "product", "phrase", "both"]
"""What of a row the training split has never shown."""
HELD_OUT_NOVELTIES: tuple[Novelty, ...] = ("product", "phrase", "both")

INSTRUCTION: dict[Language, str] = {
    "en": f"Answer the customer of {COMPANY['en']}.",
    "zh": f"请回复{COMPANY['zh']}的顾客。",
}


@dataclass(frozen=True)
class Ticket:
    """One question of a customer with the answer in the house format."""

    question: str
    answer: str
    topic: str
    language: Language
    novelty: Novelty

    @property
    def category(self) -> str:
        """Topic and language, e.g. "delivery-en": what per-category scores are grouped by."""
        return f"{self.topic}-{self.language}"

    def to_messages(self) -> dict[str, object]:
        """The row in the `messages` form, without a system prompt."""
        return {
            "messages": [
                {"role": "user", "content": self.question},
                {"role": "assistant", "content": self.answer},
            ]
        }

    def to_question(self) -> dict[str, object]:
        """The row in the form of the evaluator's custom suite."""
        return {"question": self.question, "answer": self.answer, "category": self.category}

    def to_alpaca(self) -> dict[str, object]:
        """The row in Alpaca's three fields."""
        return {
            "instruction": INSTRUCTION[self.language],
            "input": self.question,
            "output": self.answer,
        }


@dataclass(frozen=True)
class TaskData:
    """The three splits; no question occurs in two of them."""

    train: tuple[Ticket, ...]
    validation: tuple[Ticket, ...]
    held_out: tuple[Ticket, ...]


def build_task_data(seed: int = TASK_SEED) -> TaskData:
    """Draws the splits; rows of a split are shuffled, every topic and language equally frequent."""
    rng = random.Random(seed)
    known, unknown = PRODUCTS[:-HELD_OUT_PRODUCTS], PRODUCTS[-HELD_OUT_PRODUCTS:]
    train: list[Ticket] = []
    validation: list[Ticket] = []
    held_out: list[Ticket] = []
    for topic in TOPICS:
        for language in LANGUAGES:
            phrases = topic.phrases[language]
            seen, unseen = phrases[:-HELD_OUT_PHRASES], phrases[-HELD_OUT_PHRASES:]
            pairs = [(phrase, product) for phrase in seen for product in known]
            rng.shuffle(pairs)
            drawn = pairs[: TRAIN_ROWS_PER_TOPIC + VALIDATION_ROWS_PER_TOPIC]
            rows = [_draw_ticket(rng, topic, language, *pair, "none") for pair in drawn]
            train += rows[:TRAIN_ROWS_PER_TOPIC]
            validation += rows[TRAIN_ROWS_PER_TOPIC:]
            for novelty in HELD_OUT_NOVELTIES:
                phrase = rng.choice(unseen if novelty in ("phrase", "both") else seen)
                product = rng.choice(unknown if novelty in ("product", "both") else known)
                held_out.append(_draw_ticket(rng, topic, language, phrase, product, novelty))
    for split in (train, validation, held_out):
        rng.shuffle(split)
    return TaskData(tuple(train), tuple(validation), tuple(held_out))


def render_answer(topic: Topic, product: Product, language: Language) -> str:
    """The right answer in the house format."""
    return render_desk_answer(topic, product, language, topic.desk[language], topic.number)


def _draw_ticket(
    rng: random.Random,
    topic: Topic,
    language: Language,
    phrase: str,
    product: Product,
    novelty: Novelty,
) -> Ticket:
    problem = render_problem(phrase, product, language)
    question = rng.choice(OPENERS[language]) + problem + rng.choice(CLOSERS[language])
    answer = render_answer(topic, product, language)
    return Ticket(question, answer, topic.key, language, novelty)
