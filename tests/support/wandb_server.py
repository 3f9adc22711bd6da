"""As much of a W&B server as one run needs: GraphQL for the run, file_stream for its history and
summary, PUT for its files."""

import base64
import gzip
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.http_threads import serving
from support.trainer_runs import ml_python

ENTITY = "team-a"


class WandbServer:
    """What clients did."""

    def __init__(self, address: str) -> None:
        self.history: list[dict[str, Any]] = []
        """Rows of all runs, in the order in which they came."""
        self.keys: set[str] = set()
        """API keys that were shown."""
        self.summary: dict[str, Any] = {}
        """The newest of the last run."""
        self.runs: list[dict[str, Any]] = []
        """Variables of the requests that make a run."""
        self.files: dict[str, bytes] = {}
        """Files of all runs by name."""
        self.server = ThreadingHTTPServer((address, 0), self._handler())

    @property
    def url(self) -> str:
        """WANDB_BASE_URL."""
        address, port = self.server.server_address[:2]
        return f"http://{address!s}:{port}"

    @property
    def losses(self) -> list[float]:
        """Of each step, in the order in which they came."""
        return [row["train/loss"] for row in self.history if "train/loss" in row]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        state = self

        class Handler(BaseHTTPRequestHandler):  # of HTTP/1.0: no connection outlives its answer
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                scheme, _, credentials = self.headers.get("Authorization", "").partition(" ")
                if scheme == "Basic":
                    state.keys.add(base64.b64decode(credentials).decode().partition(":")[2])
                if not body:  # metrics of wandb's own (OpenTelemetry)
                    self.send_error(404)
                    return
                answer = json.dumps(state.answer(self.path, json.loads(body))).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                state.files[self.path.removeprefix("/upload/")] = body
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing on stderr."""

        return Handler

    def answer(self, path: str, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request."""
        if path == "/graphql":
            return {"data": self._data(request)}
        files = request.get("files", {})
        lines = files.get("wandb-history.jsonl", {}).get("content", [])
        self.history += [json.loads(line) for line in lines]
        for line in files.get("wandb-summary.json", {}).get("content", []):
            self.summary = json.loads(line)
        return {}

    def _data(self, request: dict[str, Any]) -> dict[str, Any]:
        name, variables = request["operationName"], request.get("variables") or {}
        if name == "UpsertBucket":
            self.runs.append(variables)
        if name == "CreateRunFiles":
            files = [
                {"name": file, "uploadUrl": f"{self.url}/upload/{file}"}
                for file in variables["files"]
            ]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        return _answer(name, variables)


def _answer(name: str, variables: dict[str, Any]) -> dict[str, Any]:
    if name == "UpsertBucket":
        project = {"id": "p", "name": variables["project"], "entity": {"id": "e", "name": ENTITY}}
        bucket = {
            "id": "b",
            "name": variables["name"],
            "displayName": variables["displayName"],
            "project": project,
            "historyLineCount": 0,
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}
    return {"model": None, "entity": {"organization": None}, "viewer": None, "serverInfo": None}


@contextmanager
def running_wandb(address: str = "127.0.0.1") -> Iterator[WandbServer]:
    """A server on a free port, ended with the block, or before by `server.shutdown`."""
    state = WandbServer(address)
    with serving(state.server):
        yield state


def synced_run(folder: Path) -> WandbServer:
    """What `wandb sync` reads in the folder of an offline run, and sends. `folder` lies in /tmp,
    which the ML environment sees."""
    with running_wandb() as state:
        done = subprocess.run(
            [ml_python(), "-m", "wandb", "sync", "--yes", str(folder)],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder.parent),
                "WANDB_BASE_URL": state.url,
                "WANDB_API_KEY": "0" * 40,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return state
