"""An object store in memory whose key may do everything except delete, which it answers as AWS
does: 200, and AccessDenied for each key. SeaweedFS has no such right to withhold."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from support.http_threads import serving


class UndeletableStore(ThreadingHTTPServer):
    """One bucket: the first part of a path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: UndeletableStore
    protocol_version = "HTTP/1.1"  # botocore waits for 100 Continue

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["If-None-Match"] and self._key in self.server.objects:
            self._answer(412, _error("PreconditionFailed"))
            return
        self.server.objects[self._key] = body
        self._answer(200)

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            prefix = query.get("prefix", [""])[0]
            found = "".join(
                f"<Contents><Key>{escape(key)}</Key><Size>{len(body)}</Size></Contents>"
                for key, body in sorted(self.server.objects.items())
                if key.startswith(prefix)
            )
            self._answer(200, f"<ListBucketResult>{found}</ListBucketResult>")
        elif self._key in self.server.objects:
            self._answer(200, self.server.objects[self._key])
        else:
            self._answer(404, _error("NoSuchKey"))

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        refused = "".join(
            f"<Error><Key>{key}</Key><Code>AccessDenied</Code><Message>no</Message></Error>"
            for key in re.findall(r"<Key>(.*?)</Key>", asked)
        )
        self._answer(200, f"<DeleteResult>{refused}</DeleteResult>")

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]

    def _answer(self, status: int, body: str | bytes = b"") -> None:
        content = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{md5(content, usedforsecurity=False).hexdigest()}"')
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Not into the output of the tests."""


def _error(code: str) -> str:
    return f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"


@contextmanager
def undeletable_store() -> Iterator[UndeletableStore]:
    """Served until the end of the block."""
    server = UndeletableStore()
    with serving(server):
        yield server
