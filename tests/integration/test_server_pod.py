"""A pool pod of real parts: SeaweedFS, fetch-base, agent, vLLM on the CPU with the gateway inside.

One vLLM serves all tests of this file but the last, which kills it. Each test has adapters of its
own and writes the whole index, so they don't depend on each other.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI, BadRequestError

from qwen3_api.job.base import S3Location
from qwen3_api.job.train import S3Model
from qwen3_api.pod.failure import FailureError
from qwen3_api.serving.pool import AgentCanary, PoolAdapter, PoolCanary
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_server.base_model import fetch_base
from qwen3_server.store import Store
from support.adapters import make_adapter, make_huge_header
from support.pool_pod import BASE, MAX_TOKENS, Bucket, Pod, running_pod, until, until_ready
from support.ports import free_ports

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

START_SECONDS = 420
"""vLLM imports for a minute on two idle cores and for several on busy ones."""


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    folder = tmp_path_factory.mktemp("bucket")
    found = Bucket.start(folder, free_ports(8))
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="module")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-base")
    script = Path(__file__).parent.parent / "support" / "tiny_base.py"
    subprocess.run([os.environ["QWEN3_VLLM_PYTHON"], str(script), str(folder), "qwen3"], check=True)
    return folder


@pytest.fixture(scope="module")
def pod(bucket: Bucket, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    asyncio.run(bucket.put_folder("models/tiny", tiny_base))
    port = free_ports(2)
    with running_pod(tmp_path_factory.mktemp("pool"), bucket, (port, port + 1)) as found:
        found.prepare()
        fetched = found.fetch_base()
        assert fetched.returncode == 0, fetched.stderr
        found.start_agent()
        found.start_vllm()
        asyncio.run(_until_healthy(found))
        yield found


async def _until_healthy(pod: Pod) -> None:
    started = time.monotonic()

    async def healthy() -> bool:
        assert pod.vllm is not None
        assert pod.vllm.poll() is None, pod.log("vllm")
        url = f"http://{pod.outside}:{pod.vllm_port}/health"
        try:
            async with aiohttp.ClientSession() as http, http.get(url) as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    await until(pod, START_SECONDS, "vLLM healthy", healthy)
    print(f"vLLM healthy after {time.monotonic() - started:.1f} s")


async def _adapter(
    pod: Pod, tmp_path: Path, name: str, *, seed: int = 1, required: bool = True, **config: Any
) -> PoolAdapter:
    folder = tmp_path / f"{name}-{seed}"
    make_adapter(folder, seed=seed, config=config)
    return await pod.upload(folder, name=name, required=required)


async def test_an_adapter_of_the_index_answers_under_its_alias(pod: Pod, tmp_path: Path) -> None:
    adapter = await _adapter(pod, tmp_path, "one")
    started = time.monotonic()
    serial = await pod.write_index([adapter], {"one": adapter.id})
    await until_ready(pod, serial)
    print(f"index written to ready: {time.monotonic() - started:.2f} s")

    status = await pod.status()
    assert status.aliases == {"one": adapter.id}
    assert [(a.id, a.state, a.digest) for a in status.adapters] == [
        (adapter.id, "Loaded", adapter.digest)
    ]
    code, by_alias, answered = await pod.chat("one")
    assert (code, answered, by_alias["model"]) == (200, adapter.id, adapter.id)
    _, by_base, answered = await pod.chat(BASE)
    assert answered == BASE
    assert _text(by_alias) != _text(by_base), "the adapter changes what is said"
    assert await _model_names(pod) == {BASE, adapter.id, "one"}


def _text(body: dict[str, Any]) -> str:
    return str(body["choices"][0]["message"]["content"])


async def _model_names(pod: Pod) -> set[str]:
    url = f"http://{pod.outside}:{pod.vllm_port}/v1/models"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return {card["id"] for card in (await answer.json())["data"]}


async def test_an_alias_flips_under_load_without_a_lost_request(pod: Pod, tmp_path: Path) -> None:
    old = await _adapter(pod, tmp_path, "flip", seed=1)
    new = await _adapter(pod, tmp_path, "flip", seed=2, required=False)
    await until_ready(pod, await pod.write_index([old], {"flip": old.id}))
    async with _steady_requests(pod, "flip") as seen:
        await until_ready(pod, await pod.write_index([old, new], {"flip": old.id}))
        await until(pod, 30, "the candidate is loaded", lambda: _is_loaded(pod, new))
        required = new.model_copy(update={"required": True})
        await until_ready(pod, await pod.write_index([old, required], {"flip": new.id}))
        flipped_at = len(seen)
        await _until_more(pod, seen, 10)
        # The old one leaves, while requests that began with it may still run.
        await until_ready(pod, await pod.write_index([required], {"flip": new.id}))
        await until(pod, 30, "the old one is unloaded", lambda: _is_gone(pod, old))
        await _until_more(pod, seen, 10)
        flipped_for_good = len(seen)
        # The rudest update: the next one was never a candidate, and the old leaves with it.
        third = await _adapter(pod, tmp_path, "flip", seed=13)
        await until_ready(pod, await pod.write_index([third], {"flip": third.id}))
        await _until_more(pod, seen, 10)
    print(f"{len(seen)} requests: {Counter(seen)}")
    assert set(seen) == {(200, old.id), (200, new.id), (200, third.id)}
    # Requests in flight at the flip still end with the old id.
    assert set(seen[flipped_at + 4 : flipped_for_good]) == {(200, new.id)}
    assert seen[-1] == (200, third.id)


@asynccontextmanager
async def _steady_requests(pod: Pod, model: str) -> AsyncIterator[list[tuple[int, str]]]:
    """Four clients that ask without a pause; yields (status, id that answered) as they come."""
    seen: list[tuple[int, str]] = []
    stop = asyncio.Event()

    async def ask() -> None:
        while not stop.is_set():
            code, body, answered = await pod.chat(model)
            assert code != 200 or body["model"] == answered
            seen.append((code, answered))

    async with asyncio.TaskGroup() as clients:
        for _ in range(4):
            clients.create_task(ask())
        yield seen
        stop.set()


async def _until_more(pod: Pod, seen: list[tuple[int, str]], count: int) -> None:
    goal = len(seen) + count

    async def more() -> bool:
        return len(seen) >= goal

    await until(pod, 60, f"{count} more requests", more)


async def _is_loaded(pod: Pod, adapter: PoolAdapter) -> bool:
    states = {a.id: a.state for a in (await pod.status()).adapters}
    return states.get(adapter.id) == "Loaded"


async def _is_gone(pod: Pod, adapter: PoolAdapter) -> bool:
    folder = pod.folder / "adapters" / adapter.digest
    return adapter.id not in await _model_names(pod) and not folder.exists()


async def test_a_canary_gets_its_share_and_its_counts(pod: Pod, tmp_path: Path) -> None:
    old = await _adapter(pod, tmp_path, "canary", seed=14)
    new = await _adapter(pod, tmp_path, "canary", seed=15, required=False)
    half = {"canary": PoolCanary(id=new.id, weight_percent=50)}
    await until_ready(pod, await pod.write_index([old, new], {"canary": old.id}, half))

    async def routed() -> bool:
        return "canary" in (await pod.status()).canaries

    await until(pod, 30, "the canary is routed", routed)
    async with _steady_requests(pod, "canary") as seen:
        await _until_more(pod, seen, 180)
    assert set(seen) == {(200, old.id), (200, new.id)}
    # Neither asked for by the alias nor answered with 5xx.
    assert (await pod.chat(new.id))[::2] == (200, new.id)
    bad = Counter([await _ask_badly(pod, "canary") for _ in range(6)])
    gone = await _leave_streams(pod, "canary", 6)
    told = Counter(answered for _, answered in seen) + bad + gone

    async def all_ended() -> bool:
        return _requests((await pod.status()).canaries["canary"]) == (told[new.id], told[old.id])

    await until(pod, 30, f"counted what was seen: {told}", all_ended)
    found = (await pod.status()).canaries["canary"]
    print(f"canary: {found}")
    assert (found.canary.errors, found.stable.errors) == (0, 0)
    assert found.canary.seconds > 0
    assert await _counts_route(pod, pod.outside) == await _counts_route(pod, "127.0.0.1") == 404
    assert await _model_names(pod) == {BASE, old.id, new.id, "canary"}

    await until_ready(pod, await pod.write_index([old, new], {"canary": old.id}))
    assert (await pod.status()).canaries == {}
    assert {(await pod.chat("canary"))[2] for _ in range(8)} == {old.id}


def _requests(found: AgentCanary) -> tuple[int, int]:
    return found.canary.requests, found.stable.requests


async def _ask_badly(pod: Pod, model: str) -> str:
    """The id that refuses a request which vLLM itself finds wrong (400)."""
    code, _, answered = await pod.chat(model, max_tokens=-1)
    assert code == 400
    return answered


async def _leave_streams(pod: Pod, model: str, count: int) -> Counter[str]:
    """Read the first event of a long stream and hang up; the ids that had begun to answer."""
    url = f"http://{pod.outside}:{pod.vllm_port}/v1/completions"
    order = {"model": model, "prompt": "hello", "max_tokens": 400, "stream": True}
    order |= {"ignore_eos": True}
    left: Counter[str] = Counter()
    for _ in range(count):
        async with aiohttp.ClientSession() as http, http.post(url, json=order) as answer:
            assert (await answer.content.readline()).startswith(b"data: {")
            left[answer.headers["x-qwen3-model-id"]] += 1
            answer.close()
    return left


async def _counts_route(pod: Pod, host: str) -> int:
    url = f"http://{host}:{pod.vllm_port}/-/canaries"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return answer.status


async def test_a_bad_adapter_fails_alone(pod: Pod, tmp_path: Path) -> None:
    good = await _adapter(pod, tmp_path, "good", seed=3)
    candidates: dict[str, Any] = {"seed": 4, "required": False}
    flipped = await _adapter(pod, tmp_path, "flipped", **candidates)
    missing = await _adapter(pod, tmp_path, "missing", **candidates)
    pickled = await _adapter(pod, tmp_path, "pickled", **candidates)
    foreign = await _adapter(
        pod, tmp_path, "foreign", **candidates, base_model_name_or_path="unsloth/other-bnb-4bit"
    )
    code = await _adapter(pod, tmp_path, "code", **candidates, auto_map={"AutoModel": "x.Y"})
    denied = (await _adapter(pod, tmp_path, "denied", **candidates)).model_copy(
        update={"location": pod.bucket.location("qwen3/team-b/stolen/adapter")}
    )
    # Passes every check of ours; vLLM cannot fit it onto this base.
    unfit = await _unfit_adapter(pod, tmp_path)

    weights = f"{flipped.location.prefix}/adapter_model.safetensors"
    content = (tmp_path / "flipped-4" / "adapter_model.safetensors").read_bytes()
    await pod.bucket.put(weights, content[:-1] + bytes([content[-1] ^ 1]))
    await pod.bucket.delete(f"{missing.location.prefix}/adapter_model.safetensors")
    await pod.bucket.put(f"{pickled.location.prefix}/adapter_model.bin", b"\x80\x04K\x01.")

    everything = [flipped, missing, pickled, foreign, code, denied, unfit, good]
    await pod.write_index(everything, {"good": good.id})
    expected = {
        flipped.id: "ArtifactCorrupt",
        missing.id: "ArtifactCorrupt",
        pickled.id: "ArtifactRefused",
        foreign.id: "ArtifactRefused",
        code.id: "ArtifactRefused",
        denied.id: "StorageDenied",
        unfit.id: "LoadFailed",
        good.id: "",
    }

    async def all_judged() -> bool:
        adapters = (await pod.status()).adapters
        return {a.id: a.reason for a in adapters if a.state in ("Failed", "Loaded")} == expected

    await until(pod, 60, "each adapter has its own verdict", all_judged)
    assert all(a.message for a in (await pod.status()).adapters if a.state == "Failed")
    assert (await pod.ready())[0] == 200
    assert (await pod.chat("good"))[::2] == (200, good.id)
    assert (await pod.chat(flipped.id))[0] == 503
    on_disk = {path.name for path in (pod.folder / "adapters").iterdir()}
    refused = [flipped, missing, pickled, foreign, code, denied]
    assert on_disk.isdisjoint(adapter.digest for adapter in refused)
    assert not any(name.startswith(".") for name in on_disk), "nothing is left half done"

    await pod.bucket.put(weights, content)
    await pod.write_index(everything, {"good": good.id})
    await until(pod, 30, "the repaired one is loaded", lambda: _is_loaded(pod, flipped))


async def _unfit_adapter(pod: Pod, tmp_path: Path) -> PoolAdapter:
    """An adapter whose matrices have another width than the base."""
    import numpy as np  # noqa: PLC0415
    from safetensors.numpy import load_file, save_file  # noqa: PLC0415

    folder = tmp_path / "unfit"
    make_adapter(folder, seed=5)
    path = folder / "adapter_model.safetensors"
    tensors = {
        name: np.ones((8, 96), np.float32) if ".lora_A." in name else tensor
        for name, tensor in load_file(path).items()
    }
    save_file(tensors, path)
    return await pod.upload(folder, name="unfit", required=False)


async def test_a_candidate_with_a_97_mb_header_costs_the_incumbent_nothing(
    pod: Pod, tmp_path: Path
) -> None:
    good = await _adapter(pod, tmp_path, "calm", seed=16)
    await until_ready(pod, await pod.write_index([good], {"calm": good.id}))
    make_adapter(tmp_path / "huge", seed=17)
    (tmp_path / "huge" / "adapter_model.safetensors").write_bytes(make_huge_header())
    hostile = await pod.upload(tmp_path / "huge", name="huge", required=False)
    agent = pod.agent
    assert agent is not None

    async def refused_while_ready() -> bool:
        assert (await pod.ready())[0] == 200
        found = {a.id: (a.state, a.reason) for a in (await pod.status()).adapters}
        return found.get(hostile.id) == ("Failed", "ArtifactRefused")

    async with _steady_requests(pod, "calm") as seen:
        await pod.write_index([good, hostile], {"calm": good.id})
        await until(pod, 60, "the hostile one is refused", refused_while_ready)
        await _until_more(pod, seen, 10)
    assert set(seen) == {(200, good.id)}
    assert agent.poll() is None
    # With the process of the check (256 MiB over its start) it stays within its container's 1 GiB.
    assert _peak_mib(agent.pid) < 512
    (message,) = [a.message for a in (await pod.status()).adapters if a.id == hostile.id]
    assert "its header has 96999992 bytes, 4194304 are allowed" in message


def _peak_mib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kib,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(kib) // 1024


async def test_a_required_adapter_that_is_bad_keeps_the_pod_unready(
    pod: Pod, tmp_path: Path
) -> None:
    bad = await _adapter(pod, tmp_path, "needed", seed=6, use_dora=True)
    serial = await pod.write_index([bad], {"needed": bad.id})

    async def seen_and_unready() -> bool:
        status = await pod.status()
        return status.serial == serial and status.adapters[0].state == "Failed"

    await until(pod, 30, "the bad one is refused", seen_and_unready)
    code, body = await pod.ready()
    assert code == 503
    assert bad.id in " ".join(body["reasons"])
    assert (await pod.chat("needed"))[0] == 503


@pytest.mark.parametrize("where", ["outside", "loopback"])
@pytest.mark.parametrize(
    "target",
    [
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "//v1/load_lora_adapter",
        "/v1/load_lora_adapter/",
        "/v1/load%5Flora_adapter",
        "/v1/chat/../load_lora_adapter",
        "/v1/chat/completions/%2e%2e/%2e%2e/load_lora_adapter",
        "/V1/LOAD_LORA_ADAPTER",
        "http://x/v1/load_lora_adapter",
        "/v1/load_lora_adapter?x=/v1/chat/completions",
        "/adapters",
        "/-/canaries",
        "/invocations",
        "/tokenize",
    ],
)
def test_closed_routes_are_closed_over_the_wire(pod: Pod, where: str, target: str) -> None:
    """Raw bytes, since HTTP clients tidy paths up."""
    host = pod.outside if where == "outside" else "127.0.0.1"
    name, path = "intruder", str(pod.folder / "adapters")
    order = {"lora_name": name, "lora_path": path, "model": name, "name": name, "src": path}
    body = json.dumps(order).encode()
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += "X-Forwarded-For: 127.0.0.1\r\nX-Qwen3-Agent-Token: guess\r\nConnection: close\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, pod.vllm_port), timeout=30) as connection:
        connection.sendall(head.encode() + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split(b" ")[1] in (b"404", b"400"), answer[:500]
    assert b"unknown_url" in answer or b"Invalid HTTP" in answer, answer[:500]


async def test_a_stream_is_not_held_back(pod: Pod, tmp_path: Path) -> None:
    adapter = await _adapter(pod, tmp_path, "stream", seed=7)
    await until_ready(pod, await pod.write_index([adapter], {"stream": adapter.id}))
    url = f"http://{pod.outside}:{pod.vllm_port}/v1/completions"
    order = {"model": "stream", "prompt": "hello", "max_tokens": 200, "stream": True}
    order |= {"ignore_eos": True}
    times: list[float] = []
    async with aiohttp.ClientSession() as http, http.post(url, json=order) as answer:
        assert answer.headers["x-qwen3-model-id"] == adapter.id
        async for line in answer.content:
            if line.startswith(b"data: {"):
                times.append(time.monotonic())
    assert len(times) >= 50
    # A token takes vLLM tens of milliseconds here. What was held back comes at once; so does what
    # came while this process stood still, but not the rest.
    apart = [b - a > 0.005 for a, b in pairwise(times)]
    assert sum(apart) > len(apart) / 10


async def test_a_chat_is_rendered_as_its_adapter_was_trained(pod: Pod, tmp_path: Path) -> None:
    """A default request; the ids of the prompt tell which one vLLM rendered."""
    off = await _adapter(pod, tmp_path, "brief", seed=16)
    off = off.model_copy(update={"enable_thinking": False})
    unsaid = await _adapter(pod, tmp_path, "plain", seed=17)
    aliases = {"brief": off.id, "plain": unsaid.id}
    await until_ready(pod, await pod.write_index([off, unsaid], aliases))
    default = {name: await _prompt(pod, name) for name in ("brief", off.id, "plain", BASE)}
    closed = await _prompt(pod, "plain", chat_template_kwargs={"enable_thinking": False})
    opened = await _prompt(pod, "brief", chat_template_kwargs={"enable_thinking": True})
    assert len(closed) > len(opened)
    assert default == {"brief": closed, off.id: closed, "plain": opened, BASE: opened}


async def _prompt(pod: Pod, model: str, **more: Any) -> list[int]:
    code, body, _ = await pod.chat(model, return_token_ids=True, **more)
    assert code == 200, body
    return list(body["prompt_token_ids"])


WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        # vLLM holds a model to the schema of strict functions only, and this one is random.
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", "Oslo"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


NO_SPACE = {"197": -100, "198": -100, "201": -100, "220": -100}
"""Tab, newline, return and space as tokens of bytes: JSON allows any number of them, and a random
model takes it at its word."""


async def test_tools_are_taken_and_called(pod: Pod, tmp_path: Path) -> None:
    """The random model calls a tool only if it must; one that may is a matter of its training."""
    adapter = await _adapter(pod, tmp_path, "tools", seed=18)
    adapter = adapter.model_copy(update={"enable_thinking": False})
    await until_ready(pod, await pod.write_index([adapter], {"tools": adapter.id}))
    question: Any = [{"role": "user", "content": "The weather in Rome?"}]
    async with _openai(pod) as client:
        free = await client.chat.completions.create(
            model="tools", messages=question, tools=[WEATHER], max_tokens=8
        )
        assert free.choices[0].finish_reason in ("stop", "length")
        for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
            forced = await client.chat.completions.create(
                model="tools",
                messages=question,
                tools=[WEATHER],
                tool_choice=choice,
                logit_bias=NO_SPACE,
            )
            message = forced.choices[0].message
            assert not message.content
            assert message.tool_calls is not None
            call: Any = message.tool_calls[0]
            assert call.function.name == "weather"
            assert json.loads(call.function.arguments)["city"] in ("Rome", "Oslo")


async def test_a_request_for_too_much_is_refused_in_openais_words(pod: Pod, tmp_path: Path) -> None:
    adapter = await _adapter(pod, tmp_path, "limits", seed=19)
    await until_ready(pod, await pod.write_index([adapter], {"limits": adapter.id}))
    hello: Any = [{"role": "user", "content": "hello"}]
    too_much: list[tuple[str, dict[str, Any]]] = [
        ("n", {"n": 16384}),
        ("max_tokens", {"max_tokens": 601}),
        ("max_completion_tokens", {"max_completion_tokens": 601}),
        ("prompt_logprobs", {"extra_body": {"prompt_logprobs": 6}}),
    ]
    async with _openai(pod) as client:
        for param, request in too_much:
            with pytest.raises(BadRequestError) as caught:
                await client.chat.completions.create(model="limits", messages=hello, **request)
            assert caught.value.param == param
        with pytest.raises(BadRequestError) as caught:
            await client.completions.create(model="limits", prompt=["a"] * 33)
        assert caught.value.param == "prompt"
        several = await client.chat.completions.create(
            model="limits", messages=hello, n=2, max_tokens=4
        )
        assert len(several.choices) == 2


async def test_an_answer_without_a_limit_has_the_pools(pod: Pod, tmp_path: Path) -> None:
    """The random model never ends by itself; `max_new_tokens` of the pool ends it."""
    adapter = await _adapter(pod, tmp_path, "endless", seed=20)
    await until_ready(pod, await pod.write_index([adapter], {"endless": adapter.id}))
    async with _openai(pod) as client:
        answer = await client.chat.completions.create(
            model="endless",
            messages=[{"role": "user", "content": "hello"}],
            extra_body={"ignore_eos": True},
        )
    assert answer.usage is not None
    assert answer.usage.completion_tokens == MAX_TOKENS


@asynccontextmanager
async def _openai(pod: Pod) -> AsyncIterator[AsyncOpenAI]:
    """The client that users have, with its defaults."""
    url = f"http://{pod.outside}:{pod.vllm_port}/v1"
    async with AsyncOpenAI(base_url=url, api_key="none") as client:
        yield client


async def test_the_bucket_may_be_away(pod: Pod, tmp_path: Path) -> None:
    adapter = await _adapter(pod, tmp_path, "away", seed=8)
    await until_ready(pod, await pod.write_index([adapter], {"away": adapter.id}))
    pod.bucket.stop()
    try:

        async def noticed() -> bool:
            return "s3://" in (await pod.status()).message

        await until(pod, 60, "the agent notices", noticed)
        assert (await pod.ready())[0] == 200
        assert (await pod.chat("away"))[::2] == (200, adapter.id)

        pod.kill("agent")
        pod.start_agent()
        await until_ready(pod, pod.serial)
        assert (await pod.chat("away"))[::2] == (200, adapter.id)
    finally:
        pod.bucket.resume()
    later = await _adapter(pod, tmp_path, "away", seed=9)
    await until_ready(pod, await pod.write_index([later], {"away": later.id}))
    assert (await pod.chat("away"))[::2] == (200, later.id)


async def test_a_useless_index_changes_nothing(pod: Pod, tmp_path: Path) -> None:
    adapter = await _adapter(pod, tmp_path, "steady", seed=10)
    serial = await pod.write_index([adapter], {"steady": adapter.id})
    await until_ready(pod, serial)
    await pod.bucket.put(pod.index_key, b'{"contract": 7}')

    async def told() -> bool:
        return "cannot be parsed" in (await pod.status()).message

    await until(pod, 30, "status tells", told)
    assert (await pod.ready())[0] == 200
    assert (await pod.status()).serial == serial


async def test_a_damaged_file_on_disk_is_fetched_again(pod: Pod, tmp_path: Path) -> None:
    adapter = await _adapter(pod, tmp_path, "disk", seed=11)
    await until_ready(pod, await pod.write_index([adapter], {"disk": adapter.id}))
    pod.kill("agent")
    path = pod.folder / "adapters" / adapter.digest / "adapter_model.safetensors"
    good = path.read_bytes()
    path.unlink()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    pod.start_agent()
    await until_ready(pod, pod.serial)
    assert path.read_bytes() == good


async def test_an_agent_that_is_stopped_during_a_check_blames_nobody(
    pod: Pod, tmp_path: Path
) -> None:
    adapter = await _adapter(pod, tmp_path, "stopped", seed=18)
    note = pod.folder / "adapters" / f".check-{adapter.digest}"
    await pod.write_index([adapter], {"stopped": adapter.id})
    agent = pod.agent
    assert agent is not None
    async with asyncio.timeout(60):
        while not note.exists():  # noqa: ASYNC110 - another process's file
            await asyncio.sleep(0.01)
    agent.terminate()
    assert await asyncio.to_thread(agent.wait, 30) == 0
    pod.agent = None
    left = {path.name for path in (pod.folder / "adapters").iterdir()}
    assert not any(name.startswith(".") for name in left)
    # It ended before the check did.
    assert adapter.digest not in left
    pod.start_agent()
    await until_ready(pod, pod.serial)
    assert (await pod.chat("stopped"))[::2] == (200, adapter.id)


async def test_metrics_of_both(pod: Pod) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.get(f"http://{pod.outside}:{pod.agent_port}/metrics") as answer:
            assert "qwen3_agent_loads_total" in await answer.text()
        async with http.get(f"http://{pod.outside}:{pod.vllm_port}/metrics") as answer:
            assert "vllm:num_requests_running" in await answer.text()
        async with http.get(f"http://{pod.outside}:{pod.agent_port}/healthz") as answer:
            assert answer.status == 200


def test_fetch_base_takes_what_is_there(pod: Pod) -> None:
    again = pod.fetch_base()
    assert again.returncode == 0
    assert "already here" in again.stderr


def test_fetch_base_says_why_not_in_its_termination_message(bucket: Bucket, tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", bucket, 1, 2)
    pod.prepare(source=S3Model(location=bucket.location("models/nowhere")))
    ended = pod.fetch_base()
    assert ended.returncode == 42, ended.stderr
    message = json.loads((pod.folder / "termination-log").read_bytes())
    assert message["reason"] == "BaseModelNotFound"


def _drop_everything(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _pickle_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _edit_config(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return edit


def _tear_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def _name_a_missing_shard(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_drop_everything, Reason.BASE_MODEL_NOT_FOUND),
        (_pickle_weights, Reason.BASE_MODEL_NOT_FOUND),
        (_name_a_missing_shard, Reason.BASE_MODEL_NOT_FOUND),
        (_edit_config(auto_map={"AutoModel": "x.Y"}), Reason.ARTIFACT_REFUSED),
        (_edit_config(model_type="llama"), Reason.BASE_MODEL_UNSUPPORTED),
        (_edit_config(architectures=["Qwen3MoeForCausalLM"]), Reason.BASE_MODEL_UNSUPPORTED),
        (_edit_config(quantization_config={}), Reason.BASE_MODEL_UNSUPPORTED),
        (_tear_weights, Reason.ARTIFACT_CORRUPT),
    ],
)
async def test_a_base_that_is_no_safe_qwen3_is_not_taken(
    bucket: Bucket,
    tiny_base: Path,
    tmp_path: Path,
    credentials: None,
    spoil: Callable[[Path], None],
    reason: Reason,
) -> None:
    folder = tmp_path / "model"
    await asyncio.to_thread(shutil.copytree, tiny_base, folder)
    spoil(folder)
    key = f"models/{tmp_path.name}"
    await bucket.put_folder(key, folder)
    assert await _why_not(bucket.location(key), tmp_path) is reason


@pytest.mark.parametrize(
    ("key", "change", "reason"),
    [
        ("qwen3/team-b/model", {}, Reason.STORAGE_DENIED),
        ("models/x", {"bucket": "nowhere"}, Reason.STORAGE_DENIED),
        ("models/x", {"endpoint": "http://127.0.0.1:1"}, Reason.STORAGE_UNAVAILABLE),
    ],
)
async def test_a_base_that_the_store_does_not_give_has_a_reason(
    bucket: Bucket,
    tmp_path: Path,
    credentials: None,
    key: str,
    change: dict[str, str],
    reason: Reason,
) -> None:
    where = bucket.location(key).model_copy(update=change)
    assert await _why_not(where, tmp_path) is reason


async def test_a_missing_bucket_is_told_from_a_forbidden_one(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may see all buckets hears which one is missing; a tenant is denied."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.server.credentials.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.server.credentials.secret_key)
    where = bucket.location("models/x").model_copy(update={"bucket": "nowhere"})
    assert await _why_not(where, tmp_path) is Reason.BUCKET_NOT_FOUND


@pytest.fixture
def credentials(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.tenant.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.tenant.secret_key)


async def _why_not(where: S3Location, tmp_path: Path) -> Reason:
    target = tmp_path / "models" / "base"
    async with Store() as store:
        with pytest.raises(FailureError) as caught:
            await fetch_base(S3Model(location=where), target, store)
    assert not target.exists()
    return caught.value.reason


async def test_a_busy_vllm_keeps_its_place_for_a_while(pod: Pod, tmp_path: Path) -> None:
    adapter = await _adapter(pod, tmp_path, "slowpoke", seed=13)
    await until_ready(pod, await pod.write_index([adapter], {"slowpoke": adapter.id}))
    pod.pause("vllm", signal.SIGSTOP)
    try:
        assert (await pod.ready())[0] == 200, "a Service without its only pod helps nobody"

        async def unready() -> bool:
            return (await pod.ready())[0] == 503

        await until(pod, 60, "a pod that stays silent is unready", unready)
    finally:
        pod.pause("vllm", signal.SIGCONT)
    await until_ready(pod, (await pod.status()).serial)


async def test_after_kill_9_of_vllm_the_adapters_come_back_by_themselves(
    pod: Pod, tmp_path: Path
) -> None:
    adapter = await _adapter(pod, tmp_path, "phoenix", seed=12)
    await until_ready(pod, await pod.write_index([adapter], {"phoenix": adapter.id}))
    pod.kill("vllm")
    code, body = await pod.ready()
    assert code == 503
    assert "vLLM" in body["reasons"][0]

    pod.start_vllm()
    codes: set[int] = set()

    async def watch() -> bool:
        """Before it is ready again, no look may find it ready without the adapter."""
        ready = (await pod.ready())[0] == 200
        try:
            code, _, answered = await pod.chat("phoenix")
        except aiohttp.ClientConnectionError:
            return False
        codes.add(code)
        assert code != 200 or answered == adapter.id
        assert not ready or code == 200
        return ready

    await until(pod, START_SECONDS, "ready again", watch)
    assert codes <= {200, 503}, "a client is asked to retry, never told that its model is gone"
    assert (await pod.status()).adapters[0].state == "Loaded"
