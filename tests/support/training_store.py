"""A bucket with the tiny base model, and what runs leave in it about their losses."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qwen3_api.job import layout
from support.trainer_runs import Store, build_tiny_base, running_store

BASE = "models/tiny"
_CURVE = (
    *("step", "epoch", "loss", "grad_norm", "learning_rate", "eval_loss"),
    *("mean_token_accuracy", "rewards/accuracies"),  # of DPO
)
_STEP = re.compile(r"/step-(\d+)/trainer_state\.json$")


@contextmanager
def training_store(folder: Path, objects: dict[str, bytes]) -> Iterator[Store]:
    """SeaweedFS with the tiny base model at `BASE` and the objects by their keys."""
    base = folder / "base"
    base.mkdir()
    build_tiny_base(base)
    with running_store(folder / "store") as store:
        store.upload_folder(base, BASE)
        for key, body in objects.items():
            store.put(key, body)
        yield store


def data_source(store: Store, key: str) -> dict[str, Any]:
    """A DataSource of the order."""
    return {"type": "S3", "location": store.location.join(key).model_dump()}


def checkpoint_steps(store: Store, revision: str) -> list[int]:
    """Steps of the checkpoints in the bucket, lowest first."""
    return sorted(_states(store, revision))


def checkpoint_file(store: Store, revision: str, step: int, name: str) -> bytes:
    """A file of the checkpoint of a step."""
    folder = _states(store, revision)[step].rpartition("/")[0]
    body: bytes | None = store.get(f"{folder}/{name}")
    assert body is not None, f"{folder}/{name}"
    return body


def loss_curve(store: Store, revision: str) -> list[dict[str, Any]]:
    """Every logged step and evaluation of a run, without times. Out of the newest checkpoint."""
    newest = checkpoint_steps(store, revision)[-1]
    state = json.loads(checkpoint_file(store, revision, newest, "trainer_state.json"))
    return [{k: entry[k] for k in _CURVE if k in entry} for entry in state["log_history"]]


def _states(store: Store, revision: str) -> dict[int, str]:
    found = {}
    for key in store.keys(f"{revision}/{layout.ATTEMPTS}/"):
        match = _STEP.search(key)
        if match:
            found[int(match[1])] = key
    return found
