"""Fixtures of the integration tests: the real servers they run against."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.control_plane import ControlPlane, running_control_plane

LONG = ("test_trainer_", "test_evaluator", "test_server_pod", "test_job_lifecycle")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real clients and deliberately broken proxies leave sockets to the garbage collector.

    Files whose tests start a trainer or vLLM come first: workers take one file at a time, and a
    long one at the end would keep one of them busy alone.
    """
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(
                pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
            )
    items.sort(key=lambda item: not item.path.name.startswith(LONG))


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A real API server with our CRDs; shared by the session, so tests use names of their own."""
    with running_control_plane() as plane:
        yield plane
