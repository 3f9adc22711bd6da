"""From a bare machine to everything that the demo and the tests run on, one timed step after
another; what is there already takes no time."""

import json
from collections.abc import Sequence

from qwen3_local.foundation import start_all
from qwen3_local.image_plan import DEPLOYED, TESTED
from qwen3_local.image_python import ensure_python
from qwen3_local.install import install
from qwen3_local.layout import Home, current_home
from qwen3_local.tenants import Platform, install_chart
from qwen3_local.timings import step
from qwen3_local.tiny_model import publish_model


def ensure_platform(
    home: Home | None = None, *, chart: bool = True, images: Sequence[str] = DEPLOYED
) -> Platform:
    """Cluster, object store, images, the small base model in the bucket, and the operator."""
    home = home or current_home()
    running, store, built = start_all(home, images)
    platform = Platform(home, running, store, built)
    publish_model(platform)
    if chart:
        with step(home, "helm chart"):
            install_chart(platform)
    return platform


def test_environment(platform: Platform) -> dict[str, str]:
    """Where the tests find what isn't in their own environment."""
    home = platform.home
    return {
        "QWEN3_ML_PYTHON": str(ensure_python(home, "trainer", platform.images["trainer"])),
        "QWEN3_VLLM_PYTHON": str(ensure_python(home, "server", platform.images["server"])),
        "QWEN3_VLLM_GPU_PYTHON": str(
            ensure_python(home, "server-gpu", platform.images["server-gpu"])
        ),
        "QWEN3_EVALUATOR_PYTHON": str(
            ensure_python(home, "evaluator", platform.images["evaluator"])
        ),
    }


def prepare(home: Home | None = None) -> Platform:
    """All that the test suite needs; leaves `<state>/test-environment.json` for its conftest."""
    home = home or current_home()
    install(home)
    platform = ensure_platform(home, images=TESTED)
    content = json.dumps(test_environment(platform), indent=1)
    (home.state / "test-environment.json").write_text(content)
    return platform
