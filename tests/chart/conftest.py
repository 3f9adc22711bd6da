"""Fixtures of the chart's tests."""

from collections.abc import Iterator

import pytest
from chart.rendering import ROOT, VALUES, Helm, Manifest, find_helm, render_case

from support.control_plane import ControlPlane, running_control_plane


@pytest.fixture(scope="session")
def helm() -> Helm:
    return find_helm()


@pytest.fixture(params=sorted(VALUES))
def case(request: pytest.FixtureRequest) -> str:
    """The name of each values file in turn."""
    return str(request.param)


@pytest.fixture
def manifests(case: str) -> tuple[Manifest, ...]:
    """What each values file renders."""
    return render_case(case)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A real API server with our CRDs and those of the Prometheus operator."""
    with running_control_plane() as plane:
        done = plane.kubectl(
            "apply", "--server-side", f"--filename={ROOT}/tests/chart/prometheus-crds"
        )
        assert done.returncode == 0, done.stderr
        done = plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        assert done.returncode == 0, done.stderr
        yield plane
