"""Texts from outside, as documents and logs take them. Pure."""


def cut(text: str, limit: int) -> str:
    """The text as a document takes it: at most `limit` characters, with a mark where it was cut,
    and no lone surrogates, which JSON can spell and UTF-8 can't."""
    text = encodable(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def encodable(text: str) -> str:
    """The text with a question mark for each lone surrogate."""
    return text.encode("utf-8", "replace").decode()
