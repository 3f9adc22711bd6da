"""One pool pod on this machine: the containers are processes, the bucket is a real SeaweedFS.

`vllm` runs from its own interpreter (QWEN3_VLLM_PYTHON), since vLLM pins half of PyPI.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiobotocore.session import get_session

import qwen3_api
import qwen3_server
from qwen3_api.job.base import S3Location
from qwen3_api.job.train import S3Model
from qwen3_api.serving.config import BASE_MODEL_DIR, ENV_POD_NAME, ENV_RUN_DIR, ServerConfig
from qwen3_api.serving.pool import VLLM_PORT, AgentStatus, PoolAdapter, PoolCanary, PoolIndex
from qwen3_local import s3
from qwen3_local.layout import Home
from qwen3_local.programs import stop_recorded
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.serving.manifests import PoolSpec, build_vllm_args, build_vllm_env
from qwen3_operator.settings import RequestLimitSettings, ServingSettings
from support.adapters import describe_adapter

BASE = "test/tiny"
NAMESPACE = "team-a"
MODEL_KEY = "models/tiny"
MAX_TOKENS = 600
"""Of an answer, by the pool's limits: less than the model's window."""
TARGET = StorageTarget(endpoint=None, region=None, bucket=s3.BUCKET, prefix="qwen3", secret="")
"""Nothing of it reaches vLLM's command line."""
SOURCES = [Path(module.__path__[0]).parent for module in (qwen3_api, qwen3_server)]


def find_outside_address() -> str:
    """An address of this machine that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))
        return str(probe.getsockname()[0])


@dataclass
class Bucket:
    """SeaweedFS with an identity that may use its own namespace and read models."""

    server: s3.S3Server
    tenant: s3.Credentials

    @classmethod
    def start(cls, folder: Path, port: int) -> "Bucket":
        server = s3.start(Home(folder), address="127.0.0.1", port=port, folder=folder / "s3")
        tenant = s3.Credentials("team-a-key", "team-a-secret-0123456789")
        s3.ensure_identity(server, NAMESPACE, tenant, s3.tenant_actions(NAMESPACE))
        return cls(server, tenant)

    def stop(self) -> None:
        """The bucket is away; its data stays."""
        stop_recorded(s3.server_daemon(self.server).record_file)

    def resume(self) -> None:
        daemon = s3.server_daemon(self.server)
        daemon.ensure_running()
        daemon.wait_ready(lambda: s3.answers(self.server))

    def location(self, key: str) -> S3Location:
        return S3Location(endpoint=self.server.endpoint, region=None, bucket=s3.BUCKET, prefix=key)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Any]:
        async with get_session().create_client(
            "s3",
            endpoint_url=self.server.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.server.credentials.access_key,
            aws_secret_access_key=self.server.credentials.secret_key,
        ) as client:
            yield client

    async def put(self, key: str, content: bytes) -> None:
        await self.put_all({key: content})

    async def put_all(self, objects: dict[str, bytes]) -> None:
        async with self._client() as client:
            for key, content in objects.items():
                await client.put_object(Bucket=s3.BUCKET, Key=key, Body=content)

    async def delete(self, key: str) -> None:
        async with self._client() as client:
            await client.delete_object(Bucket=s3.BUCKET, Key=key)

    async def put_folder(self, prefix: str, folder: Path) -> None:
        contents = await asyncio.to_thread(
            lambda: {f"{prefix}/{path.name}": path.read_bytes() for path in folder.iterdir()}
        )
        await self.put_all(contents)


SMALL = ServingSettings(
    max_lora_rank=16,
    max_loras=2,
    max_cpu_loras=8,
    limits=RequestLimitSettings(max_tokens=MAX_TOKENS),
    args=[
        *("--dtype=bfloat16", "--enforce-eager", "--max-model-len=2048"),
        *("--max-num-seqs=8", "--distributed-executor-backend=uni", "--host=0.0.0.0"),
    ],
    env={
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
    },
)
"""For the tiny model on two cores."""


@dataclass
class Pod:
    """The processes, their ports and their folders."""

    folder: Path
    bucket: Bucket
    vllm_port: int
    agent_port: int
    serving: ServingSettings = SMALL
    changed: dict[str, str] = field(default_factory=dict)
    """Arguments of vLLM that are others here than in the pod."""
    serial: int = 0
    vllm: subprocess.Popen[bytes] | None = None
    agent: subprocess.Popen[bytes] | None = None
    outside: str = field(default_factory=find_outside_address)

    @property
    def index_key(self) -> str:
        return f"qwen3/{NAMESPACE}/pools/{self.folder.name}/index.json"

    @property
    def config_file(self) -> Path:
        return self.folder / "server.json"

    def prepare(self, **changes: Any) -> None:
        """Folders and server.json, as the kubelet makes them."""
        for name in ("models", "adapters", "run"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        config = ServerConfig(
            namespace=NAMESPACE,
            pool=self.folder.name,
            base_model=BASE,
            source=S3Model(location=self.bucket.location(MODEL_KEY)),
            index=self.bucket.location(self.index_key),
            max_rank=self.serving.max_lora_rank,
            poll_seconds=0.5,
            drain_seconds=1,
        )
        self.config_file.write_bytes(config.model_copy(update=changes).to_json())

    def server_command(self, command: str, **env: str) -> tuple[list[str], dict[str, str]]:
        """`python -m qwen3_server …` and its environment."""
        line = [sys.executable, "-m", "qwen3_server", command, "--config", str(self.config_file)]
        line += ["--base-dir", str(self.folder / "models" / "base")]
        line += ["--adapters-dir", str(self.folder / "adapters")]
        line += ["--termination-log", str(self.folder / "termination-log")]
        line += ["--vllm-port", str(self.vllm_port), "--port", str(self.agent_port)]
        return line, os.environ | {
            "AWS_ACCESS_KEY_ID": self.bucket.tenant.access_key,
            "AWS_SECRET_ACCESS_KEY": self.bucket.tenant.secret_key,
            ENV_RUN_DIR: str(self.folder / "run"),
            ENV_POD_NAME: "pod-0",
            **env,
        }

    def fetch_base(self, **env: str) -> subprocess.CompletedProcess[str]:
        command, environment = self.server_command("fetch-base", **env)
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    def start_agent(self) -> None:
        command, environment = self.server_command("agent")
        self.agent = self._start("agent", command, environment)

    def start_vllm(self, **env: str) -> None:
        """The pod's own arguments and environment; its paths are in `folder`."""
        source = S3Model(location=self.bucket.location(MODEL_KEY))
        pool = PoolSpec(NAMESPACE, self.folder.name, BASE, source, TARGET, 1, None)
        changed = {
            f"--model={BASE_MODEL_DIR}": f"--model={self.folder / 'models' / 'base'}",
            f"--port={VLLM_PORT}": f"--port={self.vllm_port}",
            **self.changed,
        }
        command = [os.environ["QWEN3_VLLM_PYTHON"], "-m", "vllm.entrypoints.openai.api_server"]
        command += [changed.get(a, a) for a in build_vllm_args(pool, self.serving)]
        own = {k: v for k, v in build_vllm_env(self.serving).items() if not v.startswith("/cache")}
        environment = (
            os.environ
            | own
            | {
                # vLLM may come by PYTHONPATH itself (gpu/serve.sh).
                "PYTHONPATH": ":".join([*map(str, SOURCES), os.environ.get("PYTHONPATH", "")]),
                ENV_RUN_DIR: str(self.folder / "run"),
                **env,
            }
        )
        self.vllm = self._start("vllm", command, environment)

    def _start(self, name: str, command: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command, env=env, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """SIGKILL to a container's processes."""
        program = getattr(self, name)
        if program is not None:
            with suppress(ProcessLookupError):  # it ended before
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()
            setattr(self, name, None)

    def pause(self, name: str, signal_: signal.Signals) -> None:
        """SIGSTOP or SIGCONT to a container's processes: what is too busy to answer, too."""
        os.killpg(getattr(self, name).pid, signal_)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()[-3000:]

    # The operator's part

    async def upload(self, folder: Path, *, name: str, required: bool = True) -> PoolAdapter:
        """Put an adapter into the bucket; its index entry."""
        found = describe_adapter(folder, name=name, required=required)
        key = f"qwen3/{NAMESPACE}/{name}/{found.digest[:8]}"
        await self.bucket.put_folder(key, folder)
        return found.model_copy(update={"location": self.bucket.location(key)})

    async def write_index(
        self,
        adapters: list[PoolAdapter],
        aliases: dict[str, str],
        canaries: dict[str, PoolCanary] | None = None,
    ) -> int:
        self.serial += 1
        index = PoolIndex(
            namespace=NAMESPACE,
            pool=self.folder.name,
            base_model=BASE,
            max_rank=self.serving.max_lora_rank,
            adapters=adapters,
            aliases=aliases,
            canaries=canaries or {},
            serial=self.serial,
        )
        await self.bucket.put(self.index_key, index.to_json())
        return self.serial

    # What others see

    async def ready(self) -> tuple[int, dict[str, Any]]:
        """Status and body of GET /ready; 0 if nobody listens."""
        url = f"http://{self.outside}:{self.agent_port}/ready"
        try:
            async with aiohttp.ClientSession() as http, http.get(url) as answer:
                return answer.status, await answer.json()
        except aiohttp.ClientConnectionError:
            return 0, {}

    async def status(self) -> AgentStatus:
        url = f"http://{self.outside}:{self.agent_port}/status"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            return AgentStatus.model_validate_json(await answer.read())

    async def chat(
        self, model: str, *, host: str | None = None, **more: Any
    ) -> tuple[int, dict[str, Any], str]:
        """Status, body and the id of the model that answered."""
        url = f"http://{host or self.outside}:{self.vllm_port}/v1/chat/completions"
        messages = [{"role": "user", "content": "hello"}]
        order = {"model": model, "messages": messages, "max_tokens": 12, "temperature": 0, **more}
        async with aiohttp.ClientSession() as http, http.post(url, json=order) as answer:
            body = await answer.json()
            return answer.status, body, answer.headers.get("x-qwen3-model-id", "")


@contextmanager
def running_pod(folder: Path, bucket: Bucket, ports: tuple[int, int], **more: Any) -> Iterator[Pod]:
    """A pod whose processes end with the block; `more` are fields of it."""
    pod = Pod(folder, bucket, *ports, **more)
    try:
        yield pod
    finally:
        pod.kill("vllm")
        pod.kill("agent")


async def until(pod: Pod, seconds: float, what: str, holds: Callable[[], Any]) -> None:
    """Wait until the awaited condition holds; the error shows both logs."""
    try:
        async with asyncio.timeout(seconds):
            while not await holds():  # noqa: ASYNC110 - the condition is another process's
                await asyncio.sleep(0.2)
    except TimeoutError:
        seen = json.dumps((await pod.ready())[1])
        logs = f"{pod.log('vllm')}\n---\n{pod.log('agent')}"
        raise AssertionError(f"{what}: not within {seconds} s; {seen}\n{logs}") from None


async def until_ready(pod: Pod, serial: int, seconds: float = 180) -> None:
    """Wait until the pod is ready with the index of this serial."""

    async def holds() -> bool:
        if (await pod.ready())[0] == 0:
            return False
        # Both from one answer: between two the index may change.
        status = await pod.status()
        return status.ready and status.serial == serial

    await until(pod, seconds, f"ready with serial {serial}", holds)
