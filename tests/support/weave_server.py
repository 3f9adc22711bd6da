"""A stand-in for Weave's trace server that speaks the wire format of weave 0.54.

It is not Weave: it keeps what comes, answers with digests of the content as the real one does, and
checks nothing but the shape. The requests were recorded from the client.
"""

import base64
import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.http_threads import serving

ENTITY = "team-a"
PROJECT = "bots"
CALLS = f"/traces/v2/{ENTITY}/{PROJECT}"


class WeaveServer:
    """What clients did."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        """By reference."""
        self.tables: dict[str, list[dict[str, Any]]] = {}
        """Rows by reference."""
        self.calls: dict[str, dict[str, Any]] = {}
        """Complete calls by id; those in two parts put together."""
        self.paths: set[str] = set()
        self.keys: set[str] = set()
        self.refuses: int | None = None
        """Status with which calls are answered from now on."""
        self._lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def url(self) -> str:
        """WANDB_BASE_URL."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def named(self, name: str) -> list[dict[str, Any]]:
        """Calls of the op, in the order in which they began."""
        found = [c for c in self.calls.values() if f"/op/{name}:" in c["op_name"]]
        return sorted(found, key=lambda c: c["started_at"])

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        state = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                self._answer(body)

            def _answer(self, body: bytes) -> None:
                status, answer = state.answer(self.path, body, self.headers["Authorization"])
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Nothing on stderr."""

        return Handler

    def answer(self, path: str, body: bytes, authorization: str | None) -> tuple[int, Any]:
        """Status and document."""
        with self._lock:
            self.paths.add(path)
            if authorization:
                _, _, credentials = authorization.partition(" ")
                self.keys.add(base64.b64decode(credentials).decode().partition(":")[2])
            if path == "/traces/server_info":
                return 200, {
                    "min_required_weave_python_version": "0.50.0",
                    "trace_server_version": "1000.0.0",
                }
            if path == "/traces/file/create":  # multipart: the source of an op
                return 200, {"digest": _digest(body)}
            return self._answer_json(path, json.loads(body))

    def _answer_json(self, path: str, request: Any) -> tuple[int, Any]:
        if path == "/graphql":
            viewer = {"username": "ann", "defaultEntity": {"name": ENTITY}}
            return 200, {"data": {"project": {"name": PROJECT}, "viewer": viewer}}
        if path == "/traces/table/create":
            rows = request["table"]["rows"]
            digest = _digest(rows)
            self.tables[f"weave:///{ENTITY}/{PROJECT}/table/{digest}"] = rows
            return 200, {"digest": digest, "row_digests": [_digest(row) for row in rows]}
        if path == "/traces/obj/create":
            made = request["obj"]
            digest = _digest(made["val"])
            kind = "op" if made["val"].get("_type") == "CustomWeaveType" else "object"
            self.objects[f"weave:///{made['project_id']}/{kind}/{made['object_id']}:{digest}"] = (
                made["val"]
            )
            return 200, {"digest": digest, "object_id": made["object_id"]}
        if path.startswith(CALLS) and self.refuses is not None:
            return self.refuses, {"detail": "the disk is full"}
        if path == f"{CALLS}/calls/complete":
            for call in request["batch"]:
                self.calls[call["id"]] = call
            return 200, {}
        if path in (f"{CALLS}/call/start", f"{CALLS}/call/end"):
            part = request.get("start") or request["end"]
            self.calls[part["id"]] = self.calls.get(part["id"], {}) | part
            return 200, {"id": part["id"], "trace_id": part["trace_id"]}
        return 404, {"detail": f"not spoken here: {path}"}


def _digest(content: Any) -> str:
    data = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:43]


@contextmanager
def running_weave() -> Iterator[WeaveServer]:
    """A server on a free port, ended with the block."""
    state = WeaveServer()
    with serving(state.server):
        yield state


@contextmanager
def recording_proxy() -> Iterator[tuple[str, list[str]]]:
    """An HTTP proxy that lets nothing through, and what it was asked for: whatever a library sends
    to other hosts than those in NO_PROXY."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def refuse(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.send_error(502)

        do_CONNECT = do_GET = do_POST = do_PUT = refuse  # noqa: N815  # http.server's names

        def log_message(self, *_: Any) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
