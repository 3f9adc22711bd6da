"""ASGI middleware inside vLLM's API server: who may ask what, and which adapter a name means.

    client ── /v1/chat/completions {"model": "support-bot"} ──┐
                                                           Gateway ── {"model": "a.bot.1f…"} ─ vLLM
    agent  ── loopback + token: every route, untouched ────────┘
           ── loopback + token: /-/canaries ── how the canaries go

A request that says nothing about thinking gets what its adapter was trained for; one that asks for
more than its share (RequestLimits) is refused before vLLM sees it.

A name may have a canary: chance sends a part of its requests there. A request stays where it was
sent; one that fails is the client's to try again, or nobody would see that the canary is bad.

Started by `--middleware qwen3_server.gateway.Gateway`. vLLM adds it outside its own middleware;
nothing of it runs before. Everybody but the agent gets six routes. Loopback alone does not make an
agent: `kubectl port-forward` and service meshes (Istio: 127.0.0.6) arrive on it too, and behind
FORWARDED_ALLOW_IPS=* uvicorn takes the client's address from a header. So the agent also shows a
token from a file that only this pod's containers can read.

Pure ASGI: responses pass through event by event, so a stream stays a stream.
"""

import ipaddress
import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from qwen3_api.serving.config import (
    ENV_MAX_BODY_BYTES,
    ENV_REQUEST_LIMITS,
    ENV_RUN_DIR,
    MODEL_ID_HEADER,
    RUN_DIR,
    RequestLimits,
)
from qwen3_server.gateway.canary import Canaries
from qwen3_server.gateway.request_body import (
    BodyTooLargeError,
    ClientGoneError,
    Headers,
    MalformedBodyError,
    parse_request,
    read_body,
    render_request,
    replay_body,
    with_content_length,
)
from qwen3_server.gateway.request_rules import Refusal, check_limits, with_thinking_default
from qwen3_server.gateway.traffic import App, Clock, Message, Receive, Scope, Send, counted
from qwen3_server.routes import (
    BOOT_HEADER,
    CANARIES_PATH,
    ROUTES_FILE,
    TOKEN_FILE,
    TOKEN_HEADER,
    Route,
    Routes,
    Unroutable,
    resolve_model,
)
from qwen3_server.watched_file import WatchedFile

MODELS_ROUTE = ("GET", "/v1/models")
CHAT_ROUTE = ("POST", "/v1/chat/completions")
MODEL_ROUTES = frozenset(
    {
        CHAT_ROUTE,
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
    }
)
OPEN_ROUTES = frozenset({("GET", "/health"), ("GET", "/metrics")})
"""For the kubelet and Prometheus; a NetworkPolicy decides who else."""

PROCESS_INSTANCE = secrets.token_hex(8)
"""Names this vLLM process (Routes.boot)."""

_DEFAULT_MAX_BODY_BYTES = 16 * 1024**2
_RETRY_AFTER_SECONDS = b"2"


class Gateway:
    """The middleware; one per API server process."""

    def __init__(
        self,
        app: App,
        *,
        run_dir: Path | None = None,
        max_body_bytes: int | None = None,
        limits: RequestLimits | None = None,
        instance: str = PROCESS_INSTANCE,
        draw: Callable[[], float] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """What vLLM cannot pass (it knows `app` alone) comes from the environment.

        `draw` and `clock` are for tests (Canaries, counted).
        """
        run_dir = run_dir or Path(os.environ.get(ENV_RUN_DIR, RUN_DIR))
        self._app = app
        self._instance = instance
        self._max_body = max_body_bytes or int(
            os.environ.get(ENV_MAX_BODY_BYTES, _DEFAULT_MAX_BODY_BYTES)
        )
        self._limits = limits or RequestLimits.model_validate_json(
            os.environ.get(ENV_REQUEST_LIMITS, "{}")
        )
        self._routes = WatchedFile(run_dir / ROUTES_FILE, Routes.model_validate_json)
        self._token = WatchedFile(run_dir / TOKEN_FILE, bytes.strip)
        self._canaries = Canaries(instance, draw) if draw else Canaries(instance)
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            # vLLM's realtime route; before "accept" a close is an HTTP 403.
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._is_agent(scope):
            await self._answer_agent(
                scope, receive, _adding_header(send, BOOT_HEADER, self._instance)
            )
            return
        route = _public_route(scope)
        if route == MODELS_ROUTE:
            await self._answer_models(scope, receive, send)
        elif route in MODEL_ROUTES:
            await self._answer_model_request(scope, receive, send, chat=route == CHAT_ROUTE)
        elif route in OPEN_ROUTES:
            await self._app(scope, receive, send)
        else:
            message = f"Unknown request URL: {scope['method']} {scope['path'][:256]}"
            await _refuse(send, Refusal(404, "unknown_url", message))

    def _is_agent(self, scope: Scope) -> bool:
        """Loopback and the pod's token; the cheap test first."""
        if not _is_loopback(scope.get("client")):
            return False
        shown = [v for k, v in scope["headers"] if k == TOKEN_HEADER.encode()]
        token = self._token.current()
        return len(shown) == 1 and bool(token) and secrets.compare_digest(shown[0], token or b"")

    def _current_routes(self) -> Routes | None:
        routes = self._routes.current()
        self._canaries.follow(routes)
        return routes

    async def _answer_agent(self, scope: Scope, receive: Receive, send: Send) -> None:
        # It asks right after each change of the routes, so a canary that came, went and came
        # again counts anew even if no client asked in between.
        self._current_routes()
        if (scope["method"], scope["path"]) == ("GET", CANARIES_PATH):
            await _send_json(send, 200, self._canaries.report().to_json())
        else:
            await self._app(scope, receive, send)

    async def _answer_model_request(
        self, scope: Scope, receive: Receive, send: Send, *, chat: bool
    ) -> None:
        try:
            body = await read_body(scope["headers"], receive, self._max_body)
            request = parse_request(body)
        except ClientGoneError:
            return
        except BodyTooLargeError:
            # Closing spares us from reading the rest.
            message = f"The request body is over {self._max_body} bytes."
            closing = ((b"connection", b"close"),)
            await _refuse(send, Refusal(413, "request_too_large", message, headers=closing))
            return
        except MalformedBodyError as error:
            await _refuse(send, Refusal(400, "invalid_json", str(error)))
            return

        routes = self._current_routes()
        # vLLM answers a request without a model by the base.
        name = request.get("model") or (routes.base_model if routes else "")
        if not isinstance(name, str):
            await _refuse(send, Refusal(400, "invalid_type", "model must be a string.", "model"))
            return
        route = resolve_model(name, routes, self._instance)
        if not isinstance(route, Route):
            await _refuse(send, _refusal(name, route))
            return
        refusal = check_limits(request, self._limits)
        if refusal is not None:
            await _refuse(send, refusal)
            return
        app, model = self._app, route.model
        side = self._canaries.choose(name) if route.rewritten else None
        if side is not None:
            app, model = counted(app, side.tally, self._clock), side.model
        wanted = {**request, "model": model} if route.rewritten else request
        if chat and routes is not None:
            wanted = with_thinking_default(wanted, routes.thinking.get(model))
        if wanted is not request:
            body = render_request(wanted)
            scope = {**scope, "headers": with_content_length(scope["headers"], len(body))}
        await app(scope, replay_body(body, receive), _adding_header(send, MODEL_ID_HEADER, model))

    async def _answer_models(self, scope: Scope, receive: Receive, send: Send) -> None:
        """vLLM's list plus a card for each alias whose adapter is in that list."""
        start: Message = {}
        body = bytearray()

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            elif message["type"] == "http.response.body":
                body.extend(message.get("body", b""))

        await self._app(scope, receive, keep)
        if not start:
            return
        routes = self._routes.current()
        content = bytes(body)
        if start["status"] == 200 and routes is not None and routes.boot == self._instance:
            content = _with_aliases(content, routes)
        start["headers"] = with_content_length(start["headers"], len(content))
        await send(start)
        await send({"type": "http.response.body", "body": content})


def _public_route(scope: Scope) -> tuple[str, str] | None:
    """Method and path if the path came literally as the router will see it, else None.

    uvicorn decodes %-escapes into `path`; a raw path that differs hides something. A root_path
    would be cut off by the router after this test.
    """
    path = scope["path"]
    raw_path = scope.get("raw_path")
    if scope.get("root_path") or (raw_path is not None and raw_path != path.encode()):
        return None
    return scope["method"], path


def _is_loopback(client: tuple[str, int] | None) -> bool:
    """True for 127.0.0.0/8, ::1 and their IPv4-mapped forms; False for anything unparsable."""
    try:
        address = ipaddress.ip_address(client[0] if client else "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _refusal(name: str, why: Unroutable) -> Refusal:
    shown = name[:160]
    if why is Unroutable.LOADING:
        return Refusal(
            503,
            "model_loading",
            f"The model `{shown}` is not loaded in this pod yet.",
            "model",
            ((b"retry-after", _RETRY_AFTER_SECONDS),),
        )
    return Refusal(404, "model_not_found", f"The model `{shown}` does not exist.", "model")


def _with_aliases(content: bytes, routes: Routes) -> bytes:
    """The body of /v1/models with a card per alias, made from its adapter's card."""
    listing = json.loads(content)
    cards = {card["id"]: card for card in listing["data"]}
    listing["data"] += [
        {**cards[model], "id": alias, "root": model}
        for alias, model in sorted(routes.aliases.items())
        if model in cards and alias not in cards
    ]
    return json.dumps(listing, ensure_ascii=False).encode()


def _adding_header(send: Send, name: str, value: str) -> Send:
    """`send` with one more response header; body events pass untouched."""
    header = (name.encode(), value.encode("latin-1", "replace"))

    async def send_with_header(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), header]}
        await send(message)

    return send_with_header


async def _refuse(send: Send, refusal: Refusal) -> None:
    await _send_json(send, refusal.status, refusal.body(), refusal.headers)


async def _send_json(send: Send, status: int, body: bytes, more: Headers = ()) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
