"""Training rows: sentences of a small vocabulary, the same for the same seed."""

import gzip
import json
import random

_PARTIES = (
    "The supplier",
    "The customer",
    "Each party",
    "The carrier",
    "The auditor",
    "The lender",
)
_VERBS = (
    "delivers",
    "inspects",
    "insures",
    "returns",
    "replaces",
    "records",
    "confirms",
    "pays for",
)
_THINGS = ("the goods", "the invoice", "the machine", "every shipment", "the licence", "the report")
_WHEN = ("within {} days", "after {} working days", "at most {} times a year", "before week {}")
WORDS_PER_SENTENCE = 8


def messages_rows(count: int, words: tuple[int, int], seed: int) -> bytes:
    """`count` rows of the Messages format, a JSON line each, with answers of about `words` words.

    A word is about 1.2 tokens of Qwen3.
    """
    rng = random.Random(seed)  # noqa: S311  (test data)
    return b"".join(_row(rng, i, rng.randint(*words)) for i in range(count))


def preference_rows(count: int, words: tuple[int, int], seed: int) -> bytes:
    """`count` rows of the Preference format: sentences are better than their words shuffled."""
    rng = random.Random(seed)  # noqa: S311  (test data)
    rows = []
    for number in range(count):
        chosen = _answer(rng, rng.randint(*words))
        rejected = chosen.split()
        rng.shuffle(rejected)
        row = {
            "prompt": f"What does contract {number} say?",
            "chosen": chosen,
            "rejected": " ".join(rejected),
        }
        rows.append(json.dumps(row).encode() + b"\n")
    return b"".join(rows)


def compressed(rows: bytes) -> bytes:
    """As .jsonl.gz, equal for equal rows."""
    return gzip.compress(rows, mtime=0)


def _row(rng: random.Random, number: int, words: int) -> bytes:
    messages = [
        {"role": "system", "content": "You quote contracts."},
        {"role": "user", "content": f"What does contract {number} say?"},
        {"role": "assistant", "content": _answer(rng, words)},
    ]
    return json.dumps({"messages": messages}).encode() + b"\n"


def _answer(rng: random.Random, words: int) -> str:
    return " ".join(_sentence(rng) for _ in range(max(1, words // WORDS_PER_SENTENCE)))


def _sentence(rng: random.Random) -> str:
    when = rng.choice(_WHEN).format(rng.randint(2, 60))
    return f"{rng.choice(_PARTIES)} {rng.choice(_VERBS)} {rng.choice(_THINGS)} {when}."
