"""The gateway in process: raw ASGI events in, what the inner app saw and the client got out."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

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
    inner: InnerApp
    gateway: Gateway

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] = b"",
        *,
        client: tuple[str, int] | None = OUTSIDE,
        headers: Iterable[tuple[bytes, bytes]] = (),
        **scope: Any,
    ) -> Answer:
        pieces = [body] if isinstance(body, bytes) else list(body)
        incoming = [
            {"type": "http.request", "body": piece, "more_body": i < len(pieces) - 1}
            for i, piece in enumerate(pieces)
        ]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return incoming.pop(0) if incoming else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
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


@pytest.fixture
def world(tmp_path: Path) -> World:
    inner = InnerApp()
    world = World(
        tmp_path, inner, Gateway(inner, run_dir=tmp_path, max_body_bytes=10_000, boot=BOOT)
    )
    world.write_routes()
    replace_file(tmp_path / TOKEN_FILE, TOKEN, 0o600)
    return world


CLOSED = [
    ("POST", "/v1/load_lora_adapter"),
    ("POST", "/v1/unload_lora_adapter"),
    ("POST", "/v1//load_lora_adapter"),
    ("POST", "//v1/load_lora_adapter"),
    ("POST", "/v1/load_lora_adapter/"),
    ("POST", "/V1/chat/completions"),
    ("POST", "/v1/chat/completions/"),
    ("POST", "/v1/chat/completions/../../load_lora_adapter"),
    ("POST", "/v1/chat/completions;x"),
    ("POST", "/v1/chat/completions\x00"),
    ("POST", " /v1/chat/completions"),
    ("POST", "v1/chat/completions"),
    ("POST", "http://host/v1/chat/completions"),
    ("POST", "*"),
    ("POST", ""),
    ("GET", "/v1/chat/completions"),
    ("post", "/v1/chat/completions"),
    ("PUT", "/v1/chat/completions"),
    ("OPTIONS", "/v1/chat/completions"),
    ("HEAD", "/v1/models"),
    ("POST", "/v1/models"),
    ("GET", "/v1/models/x"),
    ("POST", "/health"),
    ("GET", "/metrics/x"),
    ("GET", "/load"),
    ("GET", "/version"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("POST", "/invocations"),
    ("POST", "/adapters"),
    ("POST", "/tokenize"),
    ("POST", "/pause"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/inference/v1/generate"),
    ("POST", "/v2/embed"),
]


@pytest.mark.parametrize(("method", "path"), CLOSED)
@pytest.mark.parametrize("client", [OUTSIDE, LOOPBACK, None], ids=["outside", "loopback", "uds"])
async def test_every_other_route_is_closed(
    world: World, method: str, path: str, client: tuple[str, int] | None
) -> None:
    answer = await world.ask(method, path, b'{"model": "bot"}', client=client)
    assert (answer.status, answer.code) == (404, "unknown_url")
    assert world.inner.seen == []


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        # Decoded by uvicorn to an open route, or cut down to a closed one by the router.
        (CHAT, {"raw_path": b"/v1/chat%2fcompletions"}),
        (CHAT, {"raw_path": b"/v1/%63hat/completions"}),
        (CHAT, {"raw_path": b"/v1/./chat/completions"}),
        ("/v1/load_lora_adapter", {"raw_path": b"/v1/load%5flora_adapter"}),
        (CHAT, {"root_path": "/v1/chat"}),
        ("/health", {"root_path": "/health"}),
    ],
)
async def test_disguised_paths_are_closed(world: World, path: str, scope: dict[str, Any]) -> None:
    answer = await world.ask("POST", path, b'{"model": "bot"}', **scope)
    assert answer.status == 404
    assert world.inner.seen == []


@pytest.mark.parametrize("client", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_the_agent_may_use_every_route(world: World, client: str) -> None:
    answer = await world.ask(
        "POST",
        "/v1/load_lora_adapter",
        b"{}",
        client=(client, 1),
        headers=[(b"x-qwen3-agent-token", TOKEN)],
    )
    assert answer.status == 200
    assert answer.headers["x-qwen3-boot"] == BOOT


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        (LOOPBACK, []),
        (LOOPBACK, [(b"x-qwen3-agent-token", b"")]),
        (LOOPBACK, [(b"x-qwen3-agent-token", b"guess")]),
        (LOOPBACK, [(b"x-qwen3-agent-token", TOKEN), (b"x-qwen3-agent-token", TOKEN)]),
        (OUTSIDE, [(b"x-qwen3-agent-token", TOKEN)]),
        (OUTSIDE, [(b"x-forwarded-for", b"127.0.0.1"), (b"x-qwen3-agent-token", b"guess")]),
        (("fe80::1%lo", 1), [(b"x-qwen3-agent-token", TOKEN)]),
        (("localhost", 1), [(b"x-qwen3-agent-token", TOKEN)]),
        (None, [(b"x-qwen3-agent-token", TOKEN)]),
    ],
)
async def test_nobody_else_is_the_agent(
    world: World, client: tuple[str, int] | None, headers: list[tuple[bytes, bytes]]
) -> None:
    answer = await world.ask("POST", "/v1/load_lora_adapter", b"{}", client=client, headers=headers)
    assert answer.status == 404
    assert world.inner.seen == []


async def test_without_a_token_file_there_is_no_agent(world: World) -> None:
    (world.run_dir / TOKEN_FILE).unlink()
    answer = await world.ask(
        "POST",
        "/v1/load_lora_adapter",
        client=LOOPBACK,
        headers=[(b"x-qwen3-agent-token", b"")],
    )
    assert answer.status == 404


async def test_an_alias_reaches_vllm_as_its_id(world: World) -> None:
    answer = await world.chat("bot", headers=[(b"content-length", b"80"), (b"x-other", b"1")])
    scope, body = world.inner.seen[0]
    assert json.loads(body)["model"] == OLD
    assert dict(scope["headers"]) == {b"content-length": b"%d" % len(body), b"x-other": b"1"}
    assert answer.headers == {"x-inner": "1", "x-qwen3-model-id": OLD}


async def test_everything_but_the_model_survives_the_rewriting(world: World) -> None:
    order = (
        b'{"model": "x", "temperature": 1e-7, "n": 123456789012345678901234567890, "logit": NaN,'
        b' "messages": [{"content": "\\ud83d \xe4\xbd\xa0\xe5\xa5\xbd \\u0000"}],'
        b' "mod\\u0065l": "bot"}'
    )
    await world.ask("POST", CHAT, order)
    seen = json.loads(world.inner.seen[0][1])
    expected = {**json.loads(order), "model": OLD}
    assert seen.pop("logit") != expected.pop("logit")  # NaN
    assert seen == expected


async def test_a_body_in_pieces_is_put_together(world: World) -> None:
    pieces = [b'{"mod', b'el": "bo', b't"}']
    answer = await world.ask("POST", CHAT, pieces, headers=[(b"transfer-encoding", b"chunked")])
    assert answer.status == 200
    scope, body = world.inner.seen[0]
    assert json.loads(body) == {"model": OLD}
    assert b"transfer-encoding" not in dict(scope["headers"])


@pytest.mark.parametrize("model", [OLD, "Qwen/Qwen3-tiny"])
async def test_an_id_or_the_base_passes_byte_for_byte(world: World, model: str) -> None:
    body = b'{ "model" : "%s" }' % model.encode()
    answer = await world.ask("POST", "/v1/completions", body)
    assert world.inner.seen[0][1] == body
    assert answer.headers["x-qwen3-model-id"] == model


@pytest.mark.parametrize("body", [b"{}", b'{"model": null}', b'{"model": ""}'])
async def test_without_a_model_the_base_answers(world: World, body: bytes) -> None:
    answer = await world.ask("POST", CHAT, body)
    assert answer.headers["x-qwen3-model-id"] == "Qwen/Qwen3-tiny"
    assert world.inner.seen[0][1] == body


@pytest.mark.parametrize(
    "model",
    ["nope", "BOT", "bot ", "../bot", "/adapters/x", "team-b.bot.1", "你好", "\ud83d", "x" * 999],
)
async def test_an_unknown_model_never_reaches_vllm(world: World, model: str) -> None:
    answer = await world.chat(model)
    assert (answer.status, answer.code) == (404, "model_not_found")
    assert world.inner.seen == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"model=bot", 400, "invalid_json"),
        (b'"bot"', 400, "invalid_json"),
        (b'[{"model": "bot"}]', 400, "invalid_json"),
        (b'{"model": "bot"', 400, "invalid_json"),
        (b'{"a": ' * 1 + b"[" * 9000 + b"}", 400, "invalid_json"),
        (b"\xff\xfe\xfd", 400, "invalid_json"),
        (b'{"model": ["bot"]}', 400, "invalid_type"),
        (b'{"model": {"$ne": 1}}', 400, "invalid_type"),
        (b'{"model": 7}', 400, "invalid_type"),
        (b'{"model": "bot", "x": "' + b"x" * 10_000 + b'"}', 413, "request_too_large"),
    ],
)
async def test_a_bad_body_never_reaches_vllm(
    world: World, body: bytes, status: int, code: str
) -> None:
    answer = await world.ask("POST", CHAT, body)
    assert (answer.status, answer.code) == (status, code)
    assert world.inner.seen == []


async def test_an_announced_body_over_the_limit_is_not_read(world: World) -> None:
    headers = [(b"content-length", b"10001")]
    answer = await world.ask("POST", CHAT, b'{"model": "bot"}', headers=headers)
    assert answer.status == 413
    assert answer.headers["connection"] == "close"


async def test_a_client_that_hangs_up_reaches_nobody(world: World) -> None:
    answer = await world.ask("POST", CHAT, [])
    assert answer.messages == []
    assert world.inner.seen == []


@pytest.mark.parametrize("model", [NEW, "soon"])
async def test_what_is_still_loading_asks_for_a_retry(world: World, model: str) -> None:
    answer = await world.chat(model)
    assert (answer.status, answer.code) == (503, "model_loading")
    assert answer.headers["retry-after"] == "2"


async def test_routes_of_another_vllm_process_are_not_believed(world: World) -> None:
    world.write_routes(boot="boot-0")
    assert [(await world.chat(m)).status for m in ("bot", OLD, NEW, "nope")] == [503, 503, 503, 404]
    assert (await world.chat("Qwen/Qwen3-tiny")).status == 200


async def test_without_routes_everything_waits(world: World) -> None:
    (world.run_dir / ROUTES_FILE).unlink()
    assert [(await world.chat(m)).status for m in ("bot", "Qwen/Qwen3-tiny", None)] == [503] * 3


async def test_broken_routes_are_no_routes(world: World) -> None:
    replace_file(world.run_dir / ROUTES_FILE, b'{"contract": 2}', 0o644)
    assert (await world.chat("bot")).status == 503


async def test_the_flip_is_seen_by_the_next_request(world: World) -> None:
    await world.chat("bot")
    world.write_routes(ids=[OLD, NEW], aliases={"bot": NEW}, loading=[])
    await world.chat("bot")
    await world.chat(OLD)
    assert [json.loads(body)["model"] for _, body in world.inner.seen] == [OLD, NEW, OLD]


async def test_an_alias_cannot_stand_in_for_the_base_or_an_id(world: World) -> None:
    world.write_routes(base_model="base", ids=[OLD, NEW], aliases={"base": NEW, OLD: NEW})
    assert (await world.chat("base")).headers["x-qwen3-model-id"] == "base"
    assert (await world.chat(OLD)).headers["x-qwen3-model-id"] == OLD


async def test_a_stream_passes_piece_by_piece(world: World) -> None:
    answer = await world.chat("bot")
    assert [m.get("body") for m in answer.messages[1:]] == [
        b"data: a\n\n",
        b"data: b\n\n",
        b"data: [DONE]\n\n",
    ]
    assert [m.get("more_body", False) for m in answer.messages[1:]] == [True, True, False]


async def test_models_lists_base_ids_and_aliases(world: World) -> None:
    world.inner.models = [
        {"id": "Qwen/Qwen3-tiny", "root": "/models/base", "parent": None},
        {"id": OLD, "root": "/adapters/d", "parent": "Qwen/Qwen3-tiny"},
    ]
    world.write_routes(aliases={"bot": OLD, "other": NEW})
    answer = await world.ask("GET", "/v1/models")
    cards = {card["id"]: card for card in json.loads(answer.body)["data"]}
    assert list(cards) == ["Qwen/Qwen3-tiny", OLD, "bot"]
    assert (cards["bot"]["root"], cards["bot"]["parent"]) == (OLD, "Qwen/Qwen3-tiny")
    assert int(answer.headers["content-length"]) == len(answer.body)


async def test_health_and_metrics_pass(world: World) -> None:
    assert (await world.ask("GET", "/health")).status == 200
    assert (await world.ask("GET", "/metrics")).status == 200


async def test_a_websocket_is_refused_even_to_the_agent(world: World) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/v1/realtime", "client": LOOPBACK, "headers": []}
    await world.gateway(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert world.inner.seen == []
