"""What verification asks of memory and what it finds out, with a real model and real adapters."""

import json
from pathlib import Path

import pytest

from support.train_jobs import train_job
from support.trainer_runs import build_tiny_base, run_probe

pytestmark = pytest.mark.integration
LENGTH = 1500
CHECKED = 256


def test_a_long_prompt_s_logits_are_never_built_at_once(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    build_tiny_base(base)
    order = tmp_path / "job.json"
    order.write_bytes(train_job(**{"dataset.max_sequence_length": LENGTH}).to_json())
    prompt = [{"role": "user", "content": "what is it? " * 400}]

    printed = run_probe(
        "verification_probe.py", base, tmp_path, order, stdin=json.dumps(prompt).encode()
    )

    found = json.loads(printed.splitlines()[-1])
    sound, broken = found["sound"], found["broken"]
    assert sound["failure"] is None
    assert sound["told"][0]["sample"]
    # Those that are looked at, then one for each new token.
    assert sound["built"][0] == CHECKED
    assert set(sound["built"][1:]) == {1}
    reason, message = broken["failure"]
    assert reason == "AdapterUnusable"
    assert "not finite" in message
    assert broken["told"] == []
