"""The gateway in process: raw ASGI events in, what the inner app saw and the client got out."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qwen3_server.gateway import Gateway
from qwen3_server.routes import ROUTES_FILE, TOKEN_FILE, Routes
from qwen3_server.watched_file import replace_file

BOOT = "boot-1"
OLD, NEW = "team-a.bot.00000001", "team-a.bot.00000002"
OUTSIDE, LOOPBACK = ("10.1.2.3", 40000), ("127.0.0.1", 40000)
TOKEN = b"secret-of-this-pod"
CHAT = "/v1/chat/completions"


@dataclass
class InnerApp:
    """An ASGI app that records what reaches it and answers by a stream of three pieces."""

    seen: list[tuple[dict[str, Any], bytes]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more and scope["type"] == "http":
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.seen.append((dict(scope), body))
        if scope.get("path") == "/v1/models":
            listing = json.dumps({"object": "list", "data": self.models}).encode()
            length = (b"content-length", str(len(listing)).encode())
            await send({"type": "http.response.start", "status": 200, "headers": [length]})
            await send({"type": "http.response.body", "body": listing})
            return
        start = {"type": "http.response.start", "status": 200, "headers": [(b"x-inner", b"1")]}
        await send(start)
        for piece in (b"data: a\n\n", b"data: b\n\n"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


@dataclass
class Answer:
    """What a client got."""

    messages: list[dict[str, Any]]

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {k.decode(): v.decode() for k, v in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(m["body"] for m in self.messages[1:])

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"])


@dataclass
class World:
    """A gateway around an inner app, and its run dir."""

    run_dir: Path
    inner: Any
    gateway: Gateway

    @classmethod
    def create(cls, run_dir: Path, inner: Any, **more: Any) -> "World":
        """With routes and a token; `more` is the gateway's."""
        gateway = Gateway(inner, run_dir=run_dir, max_body_bytes=10_000, instance=BOOT, **more)
        world = cls(run_dir, inner, gateway)
        world.write_routes()
        replace_file(run_dir / TOKEN_FILE, TOKEN, 0o600)
        return world

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] = b"",
        *,
        client: tuple[str, int] | None = OUTSIDE,
        headers: Iterable[tuple[bytes, bytes]] = (),
        hangs_up_after: int | None = None,
        **scope: Any,
    ) -> Answer:
        """`hangs_up_after` so many messages the server's send fails, as ASGI 2.4 has it."""
        pieces = [body] if isinstance(body, bytes) else list(body)
        incoming = [
            {"type": "http.request", "body": piece, "more_body": i < len(pieces) - 1}
            for i, piece in enumerate(pieces)
        ]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return incoming.pop(0) if incoming else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if len(sent) == hangs_up_after:
                raise OSError("the client hung up")
            sent.append(dict(message))

        full = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": list(headers),
            "client": client,
            **scope,
        }
        await self.gateway(full, receive, send)
        return Answer(sent)

    async def chat(self, model: Any, **more: Any) -> Answer:
        order = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        return await self.ask("POST", CHAT, json.dumps(order).encode(), **more)

    def write_routes(self, **changes: Any) -> None:
        known = {
            "boot": BOOT,
            "serial": 1,
            "base_model": "Qwen/Qwen3-tiny",
            "ids": [OLD],
            "aliases": {"bot": OLD},
            "loading": [NEW, "soon"],
        }
        routes = Routes.model_validate({**known, **changes})
        replace_file(self.run_dir / ROUTES_FILE, routes.to_json(), 0o644)
