"""The body of a model request: read once, changed in one place, handed on."""

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Headers = Iterable[tuple[bytes, bytes]]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class BodyTooLargeError(Exception):
    """The body is over the limit, by its announcement or by count."""


class ClientGoneError(Exception):
    """The client hung up before its body was complete."""


class MalformedBodyError(Exception):
    """The body is no JSON object; the message is for the client."""


async def read_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """The whole body, at most `limit` bytes. Raises BodyTooLargeError, ClientGoneError."""
    announced = [value for name, value in headers if name == b"content-length"]
    if announced and announced[0].isdigit() and int(announced[0]) > limit:
        raise BodyTooLargeError
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise BodyTooLargeError
        if not message.get("more_body", False):
            return b"".join(chunks)


def parse_request(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`, read exactly as vLLM reads it (json.loads).

    Raises MalformedBodyError.

    A scan for the first `"model"` would be faster but could see another model than vLLM does: keys
    may repeat (the last counts), be escaped, or come in UTF-16.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedBodyError(f"The request body is not valid JSON: {error}") from error
    if not isinstance(request, dict):
        raise MalformedBodyError("The request body must be a JSON object.")
    return request


def render_request(request: dict[str, Any]) -> bytes:
    """The opposite of parse_request. Lone surrogates survive, as they do in json.loads."""
    text = json.dumps(request, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def with_content_length(headers: Headers, length: int) -> list[tuple[bytes, bytes]]:
    """`headers` for a body of `length` bytes that is sent in one piece."""
    kept = [(k, v) for k, v in headers if k not in (b"content-length", b"transfer-encoding")]
    return [*kept, (b"content-length", str(length).encode())]


def replay_body(body: bytes, receive: Receive) -> Receive:
    """A receive that gives `body` once and then what the server says (a disconnect)."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_replayed() -> Message:
        return pending.pop() if pending else await receive()

    return receive_replayed
