"""The server image for GPUs, without one: what pods run there must not need what it lacks."""

import os
import subprocess
from pathlib import Path

import pytest

from qwen3_operator.serving.manifests import build_vllm_env
from qwen3_operator.settings import ServingSettings

pytestmark = pytest.mark.integration

PROBE = Path(__file__).parent.parent / "support" / "sampler_probe.py"


def sample(serving: ServingSettings) -> subprocess.CompletedProcess[str]:
    """A token by top-k and top-p, as a pool's first sampled request."""
    pod = {k: v for k, v in build_vllm_env(serving).items() if not v.startswith("/cache")}
    return subprocess.run(
        [os.environ["QWEN3_VLLM_GPU_PYTHON"], PROBE],
        env={"PATH": os.environ["PATH"], **pod},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_a_pool_samples_without_cudas_compiler() -> None:
    done = sample(ServingSettings())
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) in (997, 998, 999), "of the likeliest three"


def test_flashinfers_sampler_would_need_it() -> None:
    """Why the pool's environment says so. If this fails, the pinned FlashInfer brings kernels of
    its own, and the setting may go."""
    done = sample(ServingSettings(env={"VLLM_USE_FLASHINFER_SAMPLER": "1"}))
    assert done.returncode != 0
    assert "nvcc" in done.stderr, done.stderr[-2000:]
