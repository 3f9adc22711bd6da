"""The quickstart example and small specs around the same model and data."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qwen3_api.serving.config import MODEL_ID_HEADER
from qwen3_api.serving.pool import AGENT_PORT, AgentStatus
from qwen3_local.tenants import TINY_MODEL
from support.finetunes import Tenant

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "01-quickstart"
LOCAL_EXAMPLE = ROOT / "examples" / "01-quickstart-local"
NAMESPACE = "e2e"
QUICKSTART = "support-bot"
DATA_MAP = "support-data"


def small_spec(**changes: Any) -> dict[str, Any]:
    """A fine-tune of the small model that is over in seconds; `changes` replace whole sections."""
    spec: dict[str, Any] = {
        "baseModel": {"name": TINY_MODEL},
        "dataset": {
            "train": {"type": "ConfigMap", "configMap": {"name": DATA_MAP}},
            "maxSequenceLength": 256,
        },
        "hyperparameters": {
            "maxSteps": 8,
            "learningRate": "1e-3",
            "effectiveBatchSize": 4,
            "microBatchSize": 4,
            "gradientCheckpointing": False,
        },
        "checkpoint": {"everySteps": 10},
        "resources": {"gpus": 1},
    }
    return spec | changes


def agent_status(pod: Any) -> AgentStatus | None:
    """What the sidecar of a pool pod says, or None when it doesn't answer."""
    url = f"http://{pod.status.pod_ip}:{AGENT_PORT}/status"
    try:
        with urllib.request.urlopen(url, timeout=3) as response:
            return AgentStatus.model_validate_json(response.read())
    except (urllib.error.URLError, OSError):
        return None


def pod_ready(pod: Any) -> bool:
    """The Ready condition of a pod."""
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or ())


def service_url(tenant: Tenant, body: dict[str, Any]) -> str:
    """The pool's OpenAI API by the Service's address, which the host reaches too."""
    name = body["status"]["serving"]["endpoint"].split("//")[1].split(".")[0]
    service = tenant.core.read_namespaced_service(name, tenant.namespace)
    return f"http://{service.spec.cluster_ip}/v1"


@dataclass(frozen=True)
class Answer:
    """One chat completion."""

    text: str
    model_id: str
    """The immutable id that answered, by the gateway's header."""


def ask(url: str, model: str, question: str, max_tokens: int = 64, **more: Any) -> Answer:
    """Put one question greedily, as a user does: nothing is said about thinking.

    Raises:
        urllib.error.HTTPError, OSError: the request failed.
    """
    order = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": max_tokens,
        **more,
    }
    request = urllib.request.Request(
        f"{url}/chat/completions",
        data=json.dumps(order).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        content = json.load(response)["choices"][0]["message"]["content"] or ""
        return Answer(content.strip(), response.headers.get(MODEL_ID_HEADER, ""))


@dataclass
class Stream:
    """A steady stream of requests and what became of them."""

    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    question: str = "Hello"
    """What is asked from now on."""
    max_tokens: int = 4

    @property
    def ids(self) -> list[str]:
        """Immutable ids in the order they answered, repeats removed."""
        return list(dict.fromkeys(a.model_id for a in self.answers))


@contextmanager
def steady_stream(url: str, model: str, pause: float = 0.3) -> Iterator[Stream]:
    """Ask in the background, two clients at a time, until the block ends."""
    stream, stop = Stream(), threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                stream.answers.append(ask(url, model, stream.question, stream.max_tokens))
            except (urllib.error.URLError, OSError) as error:
                stream.failures.append(f"{time.strftime('%H:%M:%S')} {error!r}")
            stop.wait(pause)

    clients = [threading.Thread(target=run, daemon=True) for _ in range(2)]
    for thread in clients:
        thread.start()
    try:
        yield stream
    finally:
        stop.set()
        for thread in clients:
            thread.join(90)
