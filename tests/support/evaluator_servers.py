"""What the evaluator talks to in tests: a real SeaweedFS, a real vLLM, a proxy that counts."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiobotocore.session import get_session
from aiohttp import web

ACCESS_KEY = "evaluator"
SECRET_KEY = "evaluator-secret"


def free_ports(count: int) -> list[int]:
    """Ports below 20000, since SeaweedFS adds 10000 to each for gRPC."""
    found: list[int] = []
    candidate = 11000 + os.getpid() % 4000
    while len(found) < count:
        candidate += 1
        with socket.socket() as probe, socket.socket() as grpc:
            try:
                probe.bind(("127.0.0.1", candidate))
                grpc.bind(("127.0.0.1", candidate + 10000))
            except OSError:
                continue
        found.append(candidate)
    return found


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


def wait_for_http(
    url: str, program: subprocess.Popen[bytes], log: Path, seconds: float, *, below: int
) -> None:
    """Return when the URL answers with a status below `below`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and program.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                if reply.status < below:
                    return
        except urllib.error.HTTPError as error:
            if error.code < below:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{url} doesn't answer:\n{log.read_text()[-4000:]}")


@contextmanager
def seaweedfs(folder: Path) -> Iterator[str]:
    """An S3 server with one identity; yields its endpoint."""
    master, volume, filer, s3 = free_ports(4)
    folder.mkdir(parents=True, exist_ok=True)
    identity = {
        "name": "tenant",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    data = folder / "data"
    data.mkdir()
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or "weed"
    command = [weed, "-logtostderr=true", "server", f"-dir={data}", "-ip=127.0.0.1"]
    command += ["-ip.bind=127.0.0.1", "-s3", f"-s3.port={s3}", "-s3.ip.bind=127.0.0.1"]
    command += [f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"]
    command += ["-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=0"]
    log = folder / "weed.log"
    with running(command, log, dict(os.environ)) as program:
        endpoint = f"http://127.0.0.1:{s3}"
        wait_for_http(endpoint, program, log, 60, below=500)
        yield endpoint


async def make_bucket(endpoint: str, name: str) -> None:
    """Create a bucket."""
    async with get_session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    ) as client:
        await client.create_bucket(Bucket=name)


@contextmanager
def vllm(python: str, folder: Path, adapter_id: str) -> Iterator[str]:
    """vLLM on the CPU in float32 with the model as `tiny/base` and the adapter; yields …/v1."""
    (port,) = free_ports(1)
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--model", str(folder / "model")]
    command += ["--served-model-name", "tiny/base", "--dtype", "float32", "--enforce-eager"]
    command += ["--max-model-len", "512", "--max-num-seqs", "8", "--reasoning-parser", "qwen3"]
    command += ["--enable-lora", "--max-lora-rank", "8"]
    command += ["--lora-modules", f"{adapter_id}={folder / 'adapter'}"]
    env = os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
    }
    log = folder / "vllm.log"
    with running(command, log, env) as program:
        wait_for_http(f"http://127.0.0.1:{port}/health", program, log, 300, below=300)
        yield f"http://127.0.0.1:{port}/v1"


@dataclass
class Proxy:
    """Forwards to a server and keeps what was asked."""

    upstream: str
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Bodies, as they came in."""
    hold_after: int | None = None
    """Requests beyond so many wait for `released`."""
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def forward(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(body)
        if self.hold_after is not None and len(self.requests) > self.hold_after:
            await self.released.wait()
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
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/{tail:.*}", proxy.forward)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield proxy
    finally:
        proxy.released.set()
        await runner.cleanup()
