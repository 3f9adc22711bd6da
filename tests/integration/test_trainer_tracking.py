"""W&B online: what reaches a server, and that none is needed."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.train_jobs import train_job
from support.trainer_runs import ml_python
from support.wandb_server import running_wandb

pytestmark = pytest.mark.integration
KEY = "0123456789abcdef0123456789abcdef01234567"
LOGGED = [(1, 1.0), (2, 1 / 2), (3, 1 / 3)]


def _probe(
    url: str, folder: Path, *words: str, between: Callable[[], None] = lambda: None
) -> tuple[list[str], str]:
    """What support/tracking_probe.py printed, and its log; `between` the first and second loss."""
    folder.mkdir()
    wandb = {"project": "bots", "entity": None, "offline": False, "base_url": url}
    (folder / "job.json").write_bytes(train_job(wandb=wandb).to_json())
    script = Path(__file__).parents[1] / "support" / "tracking_probe.py"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [ml_python(), str(script), str(folder / "job.json"), str(folder), *words],
            env={"PATH": os.environ["PATH"], "WANDB_API_KEY": KEY},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            between()
            rest, _ = process.communicate("\n", 240)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0, (folder / "log").read_text()
    return (first + rest).split(), (folder / "log").read_text()


def test_a_run_is_followed_by_its_server(tmp_path: Path) -> None:
    with running_wandb() as server:
        printed, _ = _probe(server.url, tmp_path / "run")
        assert printed == ["begun", "ended"]
        history = [(row["train/global_step"], row["train/loss"]) for row in server.history]
        assert history == LOGGED
        assert server.keys == {KEY}
        message = json.loads((tmp_path / "run/messages").read_text())
        assert message == {
            "kind": "tracked",
            "url": f"{server.url}/team-a/bots/runs/uid-1-r1",
        }


def test_a_server_that_is_down_is_done_without(tmp_path: Path) -> None:
    printed, log = _probe("http://127.0.0.1:9", tmp_path / "run")
    assert printed == ["untracked"]
    assert "training continues without W&B" in log
    assert (tmp_path / "run/messages").read_text() == ""


def test_a_server_that_goes_away_holds_nobody_up(tmp_path: Path) -> None:
    with running_wandb() as server:

        def leave() -> None:
            server.server.shutdown()
            server.server.server_close()

        printed, log = _probe(server.url, tmp_path / "run", between=leave)
    assert printed == ["begun", "ended"]
    assert "was not finished within 2 s" in log


def test_a_service_process_that_dies_ends_nothing(tmp_path: Path) -> None:
    with running_wandb() as server:
        printed, log = _probe(server.url, tmp_path / "run", "kill")
    assert printed == ["begun", "ended"]
    assert "W&B is lost, training continues without it" in log
