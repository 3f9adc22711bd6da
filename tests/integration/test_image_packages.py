"""No image has two packages that write over each other: the lock can't see it, the import does."""

import json
import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

PROBE = Path(__file__).parent.parent / "support" / "clashes_probe.py"
HARMLESS = {"build_backend.py"}
"""Build scripts that two wheels carry along by mistake; nothing imports them."""


@pytest.mark.parametrize("image", ["ML", "VLLM", "VLLM_GPU", "EVALUATOR"])
def test_packages_keep_apart(image: str) -> None:
    python = os.environ[f"QWEN3_{image}_PYTHON"]
    done = subprocess.run([python, PROBE], stdout=subprocess.PIPE, check=True, timeout=300)
    assert [clash for clash in json.loads(done.stdout) if clash[0] not in HARMLESS] == []
