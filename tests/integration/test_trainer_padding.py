"""Rows without padding train the model as padded rows do, by TRL's own loop."""

import json
import subprocess
from pathlib import Path

import pytest

from support.trainer_runs import build_tiny_base, ml_python

pytestmark = pytest.mark.integration


def test_training_in_passes_without_padding_equals_training_with_padding(tmp_path: Path) -> None:
    base, output = tmp_path / "base", tmp_path / "output"
    base.mkdir()
    build_tiny_base(base)
    script = Path(__file__).parents[1] / "support" / "padding_probe.py"

    done = subprocess.run(
        [ml_python(), str(script), str(base), str(output)], capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr.decode()[-4000:]
    printed = json.loads(done.stdout.splitlines()[-1])
    padded, free = printed["losses"]
    assert len(padded) == 3
    assert free == pytest.approx(padded, rel=1e-4)
    assert printed["difference"] < 1e-4
    # Twelve rows of 280 tokens, four a step: more than one pass for each step, of 64 at most.
    sizes = [sum(lengths) for lengths in printed["passes"]]
    assert sum(sizes) == 280
    assert len(sizes) > 3
    assert max(sizes) <= 64
