"""The agent and the real gateway, over loopback HTTP: from the index to the counts in /status.

vLLM behind the gateway is a few routes, the bucket a variable, a pull does nothing.
"""

import asyncio
import json
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from qwen3_api.job.base import S3Location
from qwen3_api.job.train import S3Model
from qwen3_api.serving.config import ServerConfig
from qwen3_api.serving.pool import AgentCanary, AgentStatus, PoolAdapter, PoolCanary, PoolIndex
from qwen3_server.agent.adapter_cache import AdapterCache
from qwen3_server.agent.agent import Agent
from qwen3_server.agent.web import build_app
from qwen3_server.checks.content import CHECK_COMMAND, ContentCheck
from qwen3_server.engines.vllm import LOOK_SECONDS, Engine
from qwen3_server.gateway import Gateway
from qwen3_server.routes import TOKEN_FILE, Routes
from qwen3_server.store import Fetched
from qwen3_server.watched_file import replace_file
from support.adapters import describe_adapter, make_adapter, make_huge_header
from support.folder_store import FolderStore, folder_location

WHERE = S3Location(endpoint=None, region=None, bucket="b", prefix="p")
V1, V2, BASE = "a.bot.1", "a.bot.2", "base"
TOKEN = "secret-of-this-pod"
CONFIG = ServerConfig(
    namespace="a",
    pool="pool",
    base_model=BASE,
    source=S3Model(location=WHERE),
    index=WHERE,
    max_rank=16,
    poll_seconds=0.2,
    drain_seconds=0,
)


@dataclass
class Vllm:
    """Its adapters; the completions of an id in `sick` fail, requests to `slow` wait."""

    adapters: dict[str, str] = field(default_factory=dict)
    unfit: set[str] = field(default_factory=set)
    sick: set[str] = field(default_factory=set)
    slow: str = ""
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        order = json.loads((await receive())["body"] or b"{}")
        if scope["path"] == self.slow:
            self.waiting.put_nowait(self.slow)
            await self.go_on.wait()
        status, body = self._answer(scope["path"], order)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    def _answer(self, path: str, order: dict[str, Any]) -> tuple[int, Any]:
        if path == "/v1/models":
            cards = [{"id": i, "root": f, "parent": BASE} for i, f in self.adapters.items()]
            return 200, {"data": [{"id": BASE, "root": "/models/base", "parent": None}, *cards]}
        if path == "/v1/load_lora_adapter":
            if order["lora_name"] in self.unfit:
                return 500, {"error": {"message": "it does not fit"}}
            self.adapters[order["lora_name"]] = order["lora_path"]
        elif path == "/v1/unload_lora_adapter":
            self.adapters.pop(order["lora_name"], None)
        elif path == "/v1/completions":
            status = 500 if order["model"] in self.sick else 200
            return status, {"model": order["model"], "choices": [{"text": "x"}]}
        return 200, {}


class Disk:
    """An adapter cache whose pulls succeed."""

    def folder(self, digest: str) -> Path:
        return Path("/adapters") / digest

    async def pull(self, adapter: PoolAdapter) -> Path:
        return self.folder(adapter.digest)

    async def clean(self) -> None:
        """Nothing is left over."""

    async def remove_except(self, _: set[str]) -> None:
        """Nothing lies there."""


@dataclass
class Bucket:
    """One object."""

    index: PoolIndex | None = None

    async def read_if_changed(self, _: S3Location, etag: str | None) -> Fetched | None:
        if self.index is None:
            raise FileNotFoundError("index.json")
        found = Fetched(content=self.index.to_json(), etag=str(self.index.serial))
        return None if found.etag == etag else found


@dataclass
class Pod:
    run_dir: Path
    vllm: Vllm
    bucket: Bucket
    clients: TestClient[web.Request, web.Application]
    port: TestClient[web.Request, web.Application]
    serial: int = 0

    async def write(self, canary: PoolCanary | None) -> None:
        """An index with V1 behind `bot` and V2 beside it; returns when the pod has applied it."""
        routed = canary is not None and canary.id not in self.vllm.unfit
        self.put(canary)
        async with asyncio.timeout(120):
            while True:
                found = await self.status()
                settled = {a.state for a in found.adapters} <= {"Loaded", "Failed"}
                settled &= bool(found.canaries) == routed
                if found.ready and found.serial == self.serial and settled:
                    return

    def put(self, canary: PoolCanary | None) -> None:
        """The same index, which the pod will find."""
        adapters = [
            PoolAdapter(id=i, digest=d * 64, location=WHERE, files=[], rank=8, required=i == V1)
            for i, d in ((V1, "1"), (V2, "2"))
        ]
        self.put_index(adapters, canary)

    def put_index(self, adapters: list[PoolAdapter], canary: PoolCanary | None = None) -> None:
        """An index of these adapters; `bot` is the first one."""
        self.serial += 1
        self.bucket.index = PoolIndex(
            namespace="a",
            pool="pool",
            base_model=BASE,
            max_rank=16,
            adapters=adapters,
            aliases={"bot": adapters[0].id},
            canaries={"bot": canary} if canary else {},
            serial=self.serial,
        )

    async def status(self) -> AgentStatus:
        answer = await self.port.get("/status")
        return AgentStatus.model_validate_json(await answer.read())

    async def metrics(self) -> set[str]:
        lines = (await (await self.port.get("/metrics")).text()).splitlines()
        return {line for line in lines if line.startswith("qwen3_agent_canary")}

    async def ask(self, model: str) -> tuple[int, str]:
        order = {"model": model, "prompt": "hi"}
        answer = await self.clients.post("/v1/completions", json=order)
        return answer.status, answer.headers["x-qwen3-model-id"]

    def routes(self) -> Routes:
        return Routes.model_validate_json((self.run_dir / "routes.json").read_bytes())


def serve(app: Any) -> web.Application:
    """An ASGI app behind aiohttp's server; answers come in one piece."""

    async def handle(request: web.Request) -> web.Response:
        incoming = [{"type": "http.request", "body": await request.read(), "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return incoming.pop() if incoming else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": request.method,
            "path": request.path,
            "headers": [(k.lower().encode(), v.encode()) for k, v in request.headers.items()],
            "client": (request.remote, 1),
        }
        await app(scope, receive, send)
        body = b"".join(m["body"] for m in sent[1:])
        headers = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        return web.Response(status=sent[0]["status"], headers=headers, body=body)

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", handle)
    return application


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    async with running_pod(tmp_path) as pod:
        yield pod


@asynccontextmanager
async def running_pod(
    tmp_path: Path, look_seconds: float = LOOK_SECONDS, disk: Any = None
) -> AsyncIterator[Pod]:
    vllm, bucket = Vllm(), Bucket()
    replace_file(tmp_path / TOKEN_FILE, TOKEN.encode(), 0o600)
    gateway = TestServer(serve(Gateway(vllm, run_dir=tmp_path)))
    async with TestClient(gateway) as clients, aiohttp.ClientSession() as session:
        url = str(gateway.make_url("")).rstrip("/")
        engine = Engine(session, url, TOKEN, look_seconds=look_seconds)
        store: Any = bucket
        agent = Agent(CONFIG, store, engine, disk or Disk(), run_dir=tmp_path, pod="pod-0")
        async with TestClient(TestServer(build_app(agent))) as port:
            running = asyncio.create_task(agent.run())
            yield Pod(tmp_path, vllm, bucket, clients, port)
            running.cancel()
            await asyncio.wait([running])


async def test_from_the_index_to_the_counts(pod: Pod) -> None:
    await pod.write(None)
    assert [await pod.ask("bot") for _ in range(3)] == [(200, V1)] * 3
    assert ((await pod.status()).canaries, await pod.metrics()) == ({}, set())

    await pod.write(PoolCanary(id=V2, weight_percent=50))
    assert pod.routes().canaries == {"bot": PoolCanary(id=V2, weight_percent=50)}
    pod.vllm.sick = {V2}
    seen = [await pod.ask("bot") for _ in range(60)]
    assert set(seen) == {(200, V1), (500, V2)}
    status = await pod.status()
    found = status.canaries["bot"]
    assert (found.id, found.weight_percent) == (V2, 50)
    failed, answered = seen.count((500, V2)), seen.count((200, V1))
    assert (found.canary.requests, found.canary.errors) == (failed, failed)
    assert (found.stable.requests, found.stable.errors) == (answered, 0)
    assert 0 < found.canary.seconds < 60
    assert status.ready
    assert status.aliases == {"bot": V1}
    assert await pod.metrics() == expected_metrics(found)

    # The proofs that the agent asks for and the ids that clients name are nobody's canary.
    await pod.ask(V1)
    assert (await pod.status()).canaries["bot"] == found

    await pod.write(None)
    assert ((await pod.status()).canaries, await pod.metrics()) == ({}, set())
    await pod.write(PoolCanary(id=V2, weight_percent=50))
    assert (await pod.status()).canaries["bot"].canary.requests == 0


def expected_metrics(found: AgentCanary) -> set[str]:
    lines = {f'qwen3_agent_canary_weight_percent{{alias="bot",canary="{V2}"}} 50.0'}
    for side, traffic in (("canary", found.canary), ("stable", found.stable)):
        labels = f'{{alias="bot",canary="{V2}",side="{side}"}}'
        lines |= {
            f"qwen3_agent_canary_requests_total{labels} {float(traffic.requests)}",
            f"qwen3_agent_canary_errors_total{labels} {float(traffic.errors)}",
            f"qwen3_agent_canary_first_byte_seconds_total{labels} {traffic.seconds}",
        }
    return lines


async def test_a_pod_that_cannot_load_the_canary_sends_everything_to_the_incumbent(
    pod: Pod,
) -> None:
    pod.vllm.unfit = {V2}
    await pod.write(PoolCanary(id=V2, weight_percent=99))
    status = await pod.status()
    assert {a.id: a.state for a in status.adapters} == {V1: "Loaded", V2: "Failed"}
    assert (status.ready, status.canaries) == (True, {})
    assert {await pod.ask("bot") for _ in range(20)} == {(200, V1)}


async def test_without_vllm_there_are_no_canaries(pod: Pod) -> None:
    await pod.write(PoolCanary(id=V2, weight_percent=50))
    assert set((await pod.status()).canaries) == {"bot"}
    await pod.clients.close()
    status = await pod.status()
    assert (status.ready, status.canaries) == (False, {})
    assert "vLLM does not answer" in status.message
    async with asyncio.timeout(120):
        while await pod.metrics():
            continue


@pytest.mark.parametrize(("path", "askers"), [("/health", 1), ("/v1/models", 2)])
async def test_an_index_that_comes_while_readiness_is_asked_costs_no_traffic(
    pod: Pod, path: str, askers: int
) -> None:
    await pod.write(None)
    pod.vllm.slow = path
    asked = asyncio.create_task(pod.port.get("/ready"))
    async with asyncio.timeout(120):
        # The agent's own round asks for the models too.
        for _ in range(askers):
            await pod.vllm.waiting.get()
        pod.put(None)
        while (await asyncio.to_thread(pod.routes)).serial < pod.serial:
            continue
    pod.vllm.go_on.set()
    answer = await asked
    assert (answer.status, await answer.json()) == (200, {"ready": True, "reasons": []})


@pytest.mark.parametrize("path", ["/health", "/v1/models"])
async def test_a_ready_pod_that_is_slow_stays_ready_whatever_index_comes(
    tmp_path: Path, path: str
) -> None:
    async with running_pod(tmp_path, look_seconds=0.5) as pod:
        await pod.write(None)
        pod.vllm.slow = path
        pod.put(None)
        async with asyncio.timeout(120):
            while (await asyncio.to_thread(pod.routes)).serial < pod.serial:
                continue
        assert (await pod.port.get("/ready")).status == 200
        pod.vllm.go_on.set()


async def test_a_pod_that_never_was_ready_is_not_by_being_slow(tmp_path: Path) -> None:
    async with running_pod(tmp_path, look_seconds=0.5) as pod:
        pod.vllm.slow = "/health"
        answer = await pod.port.get("/ready")
        assert (answer.status, (await answer.json())["ready"]) == (503, False)
        pod.vllm.go_on.set()


# Candidates whose content is made to bring the agent down: real files, the real check.


class Adapters:
    """A bucket of adapters and a pod's folder for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "adapters"
        self.root.mkdir()

    def commit(self, name: str, *, required: bool = False, weights: bytes = b"") -> PoolAdapter:
        folder = self.folder / name
        make_adapter(folder, seed=len(name))
        if weights:
            (folder / "adapter_model.safetensors").write_bytes(weights)
        where = folder_location(folder)
        return describe_adapter(folder, name=name, location=where, required=required)

    def cache(self, command: tuple[str, ...] = CHECK_COMMAND) -> AdapterCache:
        store: Any = FolderStore()
        check = ContentCheck(base_model="test/tiny", max_rank=16, command=command)
        return AdapterCache(self.root, store, check, max_bytes=1 << 30)


async def states_while_ready(
    pod: Pod, model: str, state: str, words: str = ""
) -> dict[str, tuple[str, str]]:
    """State and reason of each adapter once `model` is in this state; ready all the while."""
    async with asyncio.timeout(120):
        while True:
            assert (await pod.port.get("/ready")).status == 200
            found = {a.id: a for a in (await pod.status()).adapters}
            if model in found and found[model].state == state and words in found[model].message:
                return {i: (a.state, a.reason) for i, a in found.items()}


async def until_ready(pod: Pod) -> None:
    async with asyncio.timeout(120):
        while (await pod.port.get("/ready")).status != 200:
            continue


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def test_a_candidate_with_a_97_mb_header_costs_the_incumbent_nothing(tmp_path: Path) -> None:
    adapters = Adapters(tmp_path)
    good = adapters.commit("good", required=True)
    hostile = adapters.commit("hostile", weights=make_huge_header())
    async with running_pod(tmp_path, disk=adapters.cache()) as pod:
        pod.put_index([good])
        await until_ready(pod)
        peak = peak_bytes()
        pod.put_index([good, hostile])
        words = "its header has 96999992 bytes, 4194304 are allowed"
        found = await states_while_ready(pod, hostile.id, "Failed", words)
        assert found == {good.id: ("Loaded", ""), hostile.id: ("Failed", "ArtifactRefused")}
        assert await pod.ask("bot") == (200, good.id)
        # Parsed in the agent it would be 1.4 GiB.
        assert peak_bytes() - peak < 256 * 1024**2


DYING_CHECK = f"""
import os, pathlib, sys
if "deadly" in (pathlib.Path(sys.argv[1]) / "README.md").read_text():
    os.abort()
os.execv(sys.executable, [*{CHECK_COMMAND!r}, *sys.argv[1:]])
"""


async def test_a_candidate_whose_check_dies_costs_the_others_nothing(tmp_path: Path) -> None:
    adapters = Adapters(tmp_path)
    good, later = adapters.commit("good", required=True), adapters.commit("later")
    make_adapter(tmp_path / "deadly")
    (tmp_path / "deadly" / "README.md").write_text("deadly")
    deadly = describe_adapter(
        tmp_path / "deadly", location=folder_location(tmp_path / "deadly"), required=False
    )
    command = (sys.executable, "-c", DYING_CHECK)
    async with running_pod(tmp_path, disk=adapters.cache(command)) as pod:
        pod.put_index([good, deadly])
        await until_ready(pod)
        await states_while_ready(pod, deadly.id, "Failed", "died in this pod (1 in a row)")
    # The sidecar and vLLM start anew; the folder of adapters is the same.
    async with running_pod(tmp_path, disk=adapters.cache(command)) as pod:
        pod.put_index([good, deadly, later])
        await until_ready(pod)
        found = await states_while_ready(pod, deadly.id, "Failed", "died in this pod (1 in a row)")
        assert found[deadly.id][1] == "ArtifactRefused"
        await states_while_ready(pod, later.id, "Loaded")
        assert await pod.ask(later.id) == (200, later.id)
