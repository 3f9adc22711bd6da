"""How the requests of one side of a canary go: `counted` watches an ASGI app, a `Tally` adds up.

    5xx · raised · broken off · an error inside a stream      an error
    anything else that the server ended, 4xx included         a request
    the client went away first                                a request, and no error

A client that gives up is counted with the time that it waited: left out, an adapter that hangs
would look like one that nobody asks.
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from qwen3_api.serving.pool import Traffic

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Clock = Callable[[], float]
"""Monotonic, in seconds."""

_STREAM_ERROR = b'data: {"error"'
"""How vLLM tells, inside a stream that began with 200, that it failed (ErrorResponse as SSE)."""


@dataclass
class Tally:
    """Traffic that grows."""

    requests: int = 0
    errors: int = 0
    seconds: float = 0.0

    def add(self, *, failed: bool, seconds: float) -> None:
        """Count one finished request."""
        self.requests += 1
        self.errors += failed
        self.seconds += seconds

    def to_traffic(self) -> Traffic:
        """The sums now."""
        return Traffic(requests=self.requests, errors=self.errors, seconds=self.seconds)


def counted(app: App, tally: Tally, clock: Clock) -> App:
    """`app`, with each request that it ends counted in `tally`; events pass untouched.

    One that is cancelled isn't counted: the process ends, and its counts with it.
    """

    async def count(scope: Scope, receive: Receive, send: Send) -> None:
        watch = _Watch(receive, send, clock)
        try:
            await app(scope, watch.receive, watch.send)
        except Exception:
            tally.add(failed=watch.failed, seconds=watch.waited())
            raise
        tally.add(failed=watch.failed, seconds=watch.waited())

    return count


class _Watch:
    """The events of one request, and what they mean for the client that waits."""

    def __init__(self, receive: Receive, send: Send, clock: Clock) -> None:
        self._receive = receive
        self._send = send
        self._clock = clock
        self._started = clock()
        self._first_byte: float | None = None
        self._server_error = False
        self._complete = False
        self._client_gone = False

    @property
    def failed(self) -> bool:
        """Did the server fail this client? To be asked when the app has ended."""
        return self._server_error or not (self._complete or self._client_gone)

    def waited(self) -> float:
        """Time to the first byte of the body; without one, until the end. Seconds.

        The headers of a stream leave vLLM before it has computed anything, so they tell nothing.
        """
        end = self._clock() if self._first_byte is None else self._first_byte
        return end - self._started

    async def receive(self) -> Message:
        message = await self._receive()
        # A server says so after a complete answer as well; that changes nothing.
        if message["type"] == "http.disconnect":
            self._note_client_gone()
        return message

    async def send(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:
            # ASGI 2.4: the client hung up.
            self._note_client_gone()
            raise
        if not self._client_gone:
            self._note_sent(message)

    def _note_client_gone(self) -> None:
        self._client_gone = True
        self._note_first_byte()

    def _note_sent(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._server_error = message["status"] >= 500
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            if body:
                self._note_first_byte()
            self._server_error = self._server_error or _is_stream_error(body)
            self._complete = not message.get("more_body", False)

    def _note_first_byte(self) -> None:
        if self._first_byte is None:
            self._first_byte = self._clock()


def _is_stream_error(body: bytes) -> bool:
    """Is this event of a stream vLLM's word for a failure of its own (code 5xx)?

    What a model says stands inside a JSON string of a chunk, so it can't begin like this.
    """
    if not body.startswith(_STREAM_ERROR):
        return False
    try:
        return int(json.loads(body.removeprefix(b"data: "))["error"]["code"]) >= 500
    except (ValueError, KeyError, TypeError):
        # An error for sure, whatever its form.
        return True
