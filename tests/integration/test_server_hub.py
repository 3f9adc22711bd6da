"""fetch-base from the hub: the real huggingface_hub client against a server that speaks its API.

The hub itself can't be reached from a test machine. What is ours (which files are asked for, which
commit, what becomes of errors) is checked here; the client's dealings with the real hub are not.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from qwen3_api.job.base import S3Location
from qwen3_api.job.train import HuggingFaceModel
from qwen3_api.serving.config import ServerConfig
from support.adapters import make_adapter
from support.pool_pod import SOURCES
from support.web_server import serve_app

pytestmark = [
    pytest.mark.integration,
]

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NOWHERE = S3Location(endpoint=None, region=None, bucket="b", prefix="p")


@dataclass
class Hub:
    """One repository at one commit."""

    files: dict[str, bytes]
    asked: list[str] = field(default_factory=list)

    async def info(self, request: web.Request) -> web.Response:
        if request.match_info["name"] == "gated":
            headers = {"X-Error-Code": "GatedRepo"}
            return web.json_response({"error": "gated"}, status=403, headers=headers)
        if request.match_info["name"] != "tiny":
            headers = {"X-Error-Code": "RepoNotFound"}
            return web.json_response({"error": "no"}, status=404, headers=headers)
        siblings = [{"rfilename": name} for name in self.files]
        return web.json_response({"id": "test/tiny", "sha": COMMIT, "siblings": siblings})

    async def tree(self, request: web.Request) -> web.Response:
        return web.json_response(
            [
                {"type": "file", "path": name, "size": len(content), "oid": _etag(content)}
                for name, content in self.files.items()
            ]
        )

    async def file(self, request: web.Request) -> web.Response:
        name = request.match_info["path"]
        self.asked.append(name)
        content = self.files[name]
        headers = {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": COMMIT}
        return web.Response(body=content, headers=headers)


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()  # noqa: S324 - git's own


@asynccontextmanager
async def running_hub(hub: Hub) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/api/models/test/{name}", hub.info)
    app.router.add_get("/api/models/test/{name}/revision/{revision}", hub.info)
    app.router.add_get("/api/models/test/{name}/tree/{revision}", hub.tree)
    app.router.add_get("/test/tiny/resolve/{revision}/{path}", hub.file)
    async with serve_app(app) as url:
        yield url


async def fetch(tmp_path: Path, hub: Hub, repo: str) -> tuple[int, Path]:
    """Run fetch-base as the pod does; exit code and the model's folder."""
    config = ServerConfig(
        namespace="a",
        pool="p",
        base_model="test/tiny",
        source=HuggingFaceModel(repo=repo, revision="v1"),
        index=NOWHERE,
        max_rank=8,
    )
    (tmp_path / "server.json").write_bytes(config.to_json())
    async with running_hub(hub) as endpoint:
        process = await asyncio.create_subprocess_exec(
            *[os.environ["QWEN3_VLLM_PYTHON"], "-m", "qwen3_server", "fetch-base"],
            *["--config", str(tmp_path / "server.json")],
            *["--base-dir", str(tmp_path / "models" / "base")],
            *["--termination-log", str(tmp_path / "termination-log")],
            env=os.environ
            | {
                "HF_ENDPOINT": endpoint,
                "HF_HOME": str(tmp_path / "hf"),
                "HF_HUB_DISABLE_XET": "1",
                "PYTHONPATH": ":".join(map(str, SOURCES)),
            },
        )
        return await process.wait(), tmp_path / "models" / "base"


async def test_only_safe_files_of_one_commit_are_taken(tmp_path: Path) -> None:
    make_adapter(tmp_path / "weights")
    weights = (tmp_path / "weights" / "adapter_model.safetensors").read_bytes()
    wanted = {
        "config.json": json.dumps({"model_type": "qwen3"}).encode(),
        "tokenizer.json": b"{}",
        "model.safetensors": weights,
    }
    unsafe = {"pytorch_model.bin": b"\x80", "modeling.py": b"import os", "README.md": b"x"}
    hub = Hub({**wanted, **unsafe})
    code, folder = await fetch(tmp_path, hub, "test/tiny")
    assert code == 0
    assert {p.name for p in folder.iterdir()} == {*wanted, "qwen3-base.json"}
    assert set(hub.asked) == set(wanted)
    manifest = json.loads((folder / "qwen3-base.json").read_bytes())
    assert manifest["commit"] == COMMIT
    assert {f["path"]: f["sha256"] for f in manifest["files"]} == {
        name: hashlib.sha256(content).hexdigest() for name, content in wanted.items()
    }


async def test_another_kind_of_model_is_refused_before_its_weights(tmp_path: Path) -> None:
    config = {"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"]}
    hub = Hub({"config.json": json.dumps(config).encode(), "model.safetensors": b"gigabytes"})
    code, folder = await fetch(tmp_path, hub, "test/tiny")
    assert code == 42
    told = json.loads((tmp_path / "termination-log").read_bytes())
    assert told["reason"] == "BaseModelUnsupported"
    assert "test/tiny is Qwen3MoeForCausalLM" in told["message"]
    assert set(hub.asked) == {"config.json"}
    assert not folder.exists()


@pytest.mark.parametrize(
    ("repo", "reason"), [("test/none", "BaseModelNotFound"), ("test/gated", "StorageDenied")]
)
async def test_what_the_hub_refuses_has_a_reason(tmp_path: Path, repo: str, reason: str) -> None:
    code, folder = await fetch(tmp_path, Hub({}), repo)
    assert code == 42
    assert json.loads((tmp_path / "termination-log").read_bytes())["reason"] == reason
    assert not folder.exists()
