"""Fixtures of the integration tests: the real servers they run against."""

from collections.abc import Iterator

import pytest

from support.control_plane import ControlPlane, running_control_plane


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A real API server with our CRDs; shared by the session, so tests use names of their own."""
    with running_control_plane() as plane:
        yield plane
