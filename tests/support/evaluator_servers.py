"""What the evaluator talks to in tests: a real SeaweedFS, a real vLLM, a proxy that counts."""

import asyncio
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from qwen3_api.job.base import S3Location
from qwen3_api.v1alpha1.training import ALL_LINEAR
from qwen3_local import s3
from qwen3_local.layout import Home
from qwen3_local.programs import stop_recorded
from support.chat_server import serve_chat
from support.ports import free_ports

NAMESPACE = "team-a"
BUCKET = "tenants"
TENANT = s3.Credentials("team-a-key", "team-a-secret-0123456789")


@contextmanager
def running(
    command: list[str], log: Path, env: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a group of its own, ended with the block."""
    with log.open("wb") as output:
        program = subprocess.Popen(
            command, stdout=output, stderr=output, env=env, start_new_session=True
        )
    try:
        yield program
    finally:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def wait_for_http(url: str, program: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Return when the URL answers 200."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and program.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{url} doesn't answer:\n{log.read_text()[-4000:]}")


@dataclass(frozen=True)
class Bucket:
    """A bucket of a running S3 server."""

    tenant: S3Location
    """The prefix of `NAMESPACE`, which `TENANT` may use and nothing else."""
    admin: s3.Credentials
    server: s3.S3Server


@contextmanager
def seaweedfs(folder: Path) -> Iterator[Bucket]:
    """An S3 server."""
    server = s3.start(
        Home(folder), address="127.0.0.1", port=free_ports(8), folder=folder / "s3", bucket=BUCKET
    )
    try:
        s3.ensure_identity(server, NAMESPACE, TENANT, s3.tenant_actions(NAMESPACE, BUCKET))
        location = S3Location(
            endpoint=server.endpoint, region=None, bucket=BUCKET, prefix=f"qwen3/{NAMESPACE}"
        )
        yield Bucket(location, server.credentials, server)
    finally:
        stop_recorded(s3.server_daemon(server).record_file)


@contextmanager
def vllm(python: str, folder: Path, adapter_id: str) -> Iterator[str]:
    """vLLM on the CPU in float32 with the model as `tiny/base` and the adapter; yields …/v1."""
    port = free_ports(1)
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--model", str(folder / "model")]
    command += ["--served-model-name", "tiny/base", "--dtype", "float32", "--enforce-eager"]
    command += ["--max-model-len", "512", "--max-num-seqs", "8", "--reasoning-parser", "qwen3"]
    # A slot more than adapters: on the CPU, vLLM 0.32 gives a request to the base that shares a
    # batch with one to an adapter the last slot's weights (vllm-project/vllm#48421); empty ones
    # do no harm. The GPU kernels are right.
    command += ["--enable-lora", "--max-lora-rank", "8", "--max-loras", "2"]
    command += ["--lora-modules", f"{adapter_id}={folder / 'adapter'}"]
    # As the pool does. Without it vLLM wraps lm_head too, and prompt_logprobs then crash it on the
    # CPU and are wrong on a GPU (vllm-project/vllm#16668, #51594).
    command += ["--lora-target-modules", *ALL_LINEAR]
    env = os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        # As the local pool: prompt_logprobs call a compiled function even with --enforce-eager, and
        # the image has no C++ compiler.
        "TORCHDYNAMO_DISABLE": "1",
    }
    log = folder / "vllm.log"
    with running(command, log, env) as program:
        wait_for_http(f"http://127.0.0.1:{port}/health", program, log, 400)
        yield f"http://127.0.0.1:{port}/v1"


@dataclass
class Proxy:
    """Forwards to a server and keeps what was asked."""

    upstream: str
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Bodies, as they came in."""
    full: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while as many requests are held as `hold` said."""
    _hold_after: int | None = None
    _full_at: int = 0
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def hold(self, *, after: int, count: int) -> None:
        """Forward `after` requests and keep the rest waiting; `full` tells of the `count`th."""
        self._hold_after = after
        self._full_at = after + count

    def release(self) -> None:
        """Forward everything, also what was held."""
        self._hold_after = None
        self._released.set()

    async def forward(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(body)
        if self._hold_after is not None and len(self.requests) > self._hold_after:
            if len(self.requests) == self._full_at:
                self.full.set()
            await self._released.wait()
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self.upstream}/{request.match_info['tail']}", json=body) as reply,
        ):
            return web.Response(
                status=reply.status, body=await reply.read(), content_type=reply.content_type
            )


@asynccontextmanager
async def counting_proxy(upstream: str) -> AsyncIterator[Proxy]:
    """A proxy in this event loop."""
    proxy = Proxy(upstream)
    async with serve_chat(proxy.forward, "/v1/{tail:.*}") as proxy.url:
        try:
            yield proxy
        finally:
            proxy.release()
