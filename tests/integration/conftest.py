"""Fixtures of the integration tests: the real servers they run against."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.control_plane import ControlPlane, running_control_plane


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real clients and deliberately broken proxies leave sockets to the garbage collector."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(
                pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
            )


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A real API server with our CRDs; shared by the session, so tests use names of their own."""
    with running_control_plane() as plane:
        yield plane
