"""The HTTP session that kopf watches with: our own, so that credentials and signs of life are ours.

kopf hides bookmarks and reconnects from handlers. A response class is the one place where aiohttp
lets us see the bytes of a stream on their way.
"""

from collections.abc import AsyncIterator
from typing import cast

import aiohttp
import kopf

from qwen3_operator.controller.activity import WatchActivity
from qwen3_operator.controller.connection import Connection


def open_watch_session(connection: Connection, activity: WatchActivity) -> kopf.AiohttpSession:
    """What a kopf login handler returns; kopf closes the session when it is done with it."""
    session = connection.open_session(
        connections=0,  # one per watch, held for ever
        response_class=_response_class(activity),
        user_agent="qwen3-operator/watch",
    )
    return kopf.AiohttpSession(
        server=connection.server,
        default_namespace=connection.namespace,
        aiohttp_session=session,
    )


def _response_class(activity: WatchActivity) -> type[aiohttp.ClientResponse]:
    class WatchedResponse(aiohttp.ClientResponse):
        """Reports listings and the bytes of watches."""

        async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
            await super().start(connection)
            if self.status == 200 and self.method == "GET":
                if self.url.query.get("watch") == "true":
                    activity.alive(self.url.path)
                    stream = _WatchedStream(self.content, activity, self.url.path)
                    # It stands in for the stream by delegation: StreamReader can't be wrapped as a
                    # subclass, since the connection keeps feeding the original.
                    self.content = cast(aiohttp.StreamReader, stream)
                else:
                    activity.listed(self.url.path)
            return self

    return WatchedResponse


class _WatchedStream:
    """A response body that reports each chunk; everything else is the original's."""

    def __init__(self, stream: aiohttp.StreamReader, activity: WatchActivity, path: str) -> None:
        self._stream = stream
        self._activity = activity
        self._path = path

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        async for chunk in self._stream.iter_chunked(size):
            self._activity.alive(self._path)
            yield chunk
