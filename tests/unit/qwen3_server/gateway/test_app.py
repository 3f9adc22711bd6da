"""The gateway in process: who may ask what, and which model answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from qwen3_server.routes import ROUTES_FILE, TOKEN_FILE
from qwen3_server.watched_file import replace_file
from support.gateway_world import BOOT, CHAT, LOOPBACK, NEW, OLD, OUTSIDE, TOKEN, InnerApp, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.create(tmp_path, InnerApp())


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
    ("GET", "/-/canaries"),
    ("POST", "/-/canaries"),
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
        b'{"model": "x", "temperature": 1e-7, "big": 123456789012345678901234567890, "logit": NaN,'
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


@pytest.mark.parametrize("model", ["bot", OLD])
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, {"enable_thinking": False}),
        ({"chat_template_kwargs": {"enable_thinking": True}}, {"enable_thinking": True}),
    ],
)
async def test_a_chat_gets_what_its_adapter_was_trained_for(
    world: World, model: str, said: dict[str, Any], expected: dict[str, Any]
) -> None:
    world.write_routes(thinking={OLD: False})
    order = {"model": model, "messages": [{"role": "user", "content": "hi"}], **said}
    body = json.dumps(order).encode()
    length = (b"content-length", str(len(body)).encode())
    await world.ask("POST", CHAT, body, headers=[length])
    scope, seen = world.inner.seen[0]
    assert json.loads(seen) == {**order, "model": OLD, "chat_template_kwargs": expected}
    assert dict(scope["headers"])[b"content-length"] == b"%d" % len(seen)


async def test_only_chats_have_a_template(world: World) -> None:
    world.write_routes(thinking={OLD: False})
    await world.ask("POST", "/v1/completions", b'{"model": "bot", "prompt": "x"}')
    assert json.loads(world.inner.seen[0][1]) == {"model": OLD, "prompt": "x"}


@pytest.mark.parametrize("model", ["bot", OLD, "Qwen/Qwen3-tiny"])
async def test_a_request_for_too_much_never_reaches_vllm(world: World, model: str) -> None:
    order = json.dumps({"model": model, "n": 16384}).encode()
    answer = await world.ask("POST", CHAT, order)
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["type"], error["param"], error["code"]) == (
        400, "invalid_request_error", "n", "integer_above_max_value"
    )  # fmt: skip
    assert error["message"] == (
        "Invalid 'n': integer above maximum value. Expected a value <= 32, but got 16384 instead."
    )
    assert world.inner.seen == []
