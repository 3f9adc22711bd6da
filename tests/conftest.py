"""What every tier shares: where the ML interpreters are, if the local platform is prepared."""

import json
import os

from hypothesis import settings

from qwen3_local.layout import current_home

# Examples are judged by what they find, not by how long a busy machine takes for one. What else is
# set (fewer surprises where CI is) stays.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")


def pytest_configure() -> None:
    """`python -m qwen3_local prepare` leaves the paths of trainer and vLLM interpreters here."""
    file = current_home().state / "test-environment.json"
    if file.exists():
        for name, value in json.loads(file.read_text()).items():
            os.environ.setdefault(name, value)
