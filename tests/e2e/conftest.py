"""The local cluster with every part real, one tenant, one fine-tune that serves throughout."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from kubernetes import client, config

from qwen3_local import tenants
from qwen3_local.platform import ensure_platform
from qwen3_local.tenants import Platform
from support.finetunes import EVALS, Body, Tenant
from support.operator_process import OperatorProcess
from support.quickstart import DATA_MAP, EXAMPLE, LOCAL_EXAMPLE, NAMESPACE, QUICKSTART
from support.waiting import wait_for


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder is e2e."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            # The `kubernetes` client and urllib leave idle sockets to the garbage collector.
            item.add_marker(
                pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
            )


@pytest.fixture(scope="session")
def platform() -> Platform:
    """Cluster, object store, images, model, chart: built if they aren't there."""
    return ensure_platform()


@pytest.fixture(scope="session")
def tenant(platform: Platform, request: pytest.FixtureRequest) -> Iterator[Tenant]:
    """A fresh namespace with its own storage credentials. A failed session leaves it to look at."""
    api = config.new_client_from_config(config_file=str(platform.cluster.kubeconfig))
    remove_namespace(api, NAMESPACE)
    tenants.ensure_tenant(platform, NAMESPACE)
    yield Tenant(api, NAMESPACE)
    if not request.session.testsfailed:
        remove_namespace(api, NAMESPACE)


def remove_namespace(api: client.ApiClient, name: str) -> None:
    """Delete a namespace and wait until it is gone."""
    core = client.CoreV1Api(api)

    def names() -> list[str]:
        return [n.metadata.name for n in core.list_namespace().items]

    if name in names():
        core.delete_namespace(name)
        wait_for(names, lambda found: name not in found, f"namespace {name} gone", 180)


@pytest.fixture(scope="session")
def quickstart(platform: Platform, tenant: Tenant) -> Body:
    """examples/01-quickstart as it is applied on the local cluster, served and Ready."""
    platform.cluster.kubectl_run(
        "apply", f"--namespace={NAMESPACE}", "--server-side", "-k", str(LOCAL_EXAMPLE)
    )
    return tenant.wait_ready(QUICKSTART, seconds=420)


@pytest.fixture(scope="session")
def rows(tenant: Tenant) -> None:
    """The training rows that `small_spec` names, in their ConfigMap."""
    text = (EXAMPLE / "data" / "train.jsonl").read_text()
    tenant.core.create_namespaced_config_map(
        NAMESPACE, {"metadata": {"name": DATA_MAP}, "data": {"train.jsonl": text}}
    )


@pytest.fixture(scope="session")
def heldout(tenant: Tenant) -> list[Body]:
    """Questions that no training row answers, in the ConfigMap `heldout`."""
    text = (EXAMPLE / "data" / "heldout.jsonl").read_text()
    tenant.core.create_namespaced_config_map(
        NAMESPACE, {"metadata": {"name": "heldout"}, "data": {"heldout.jsonl": text}}
    )
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="session")
def scheduled(quickstart: Body, tenant: Tenant, heldout: list[Body]) -> tuple[str, str]:
    """A Qwen3Eval that runs once, in a minute, while other tests go on: its name and that time."""
    # Far enough away for the API server and the operator to have it before.
    due = (datetime.now(UTC) + timedelta(seconds=75)).replace(second=0, microsecond=0)
    data = {"type": "ConfigMap", "configMap": {"name": "heldout", "key": "heldout.jsonl"}}
    questions = {"data": data, "metrics": ["ExactMatch"], "limit": 3}
    spec = {
        "schedule": {"cron": f"{due.minute} {due.hour} * * *"},
        "target": {"fineTune": {"name": QUICKSTART}},
        "suites": [{"name": "few", "questions": questions, "generation": {"maxTokens": 48}}],
    }
    tenant.create("nightly", spec, EVALS)
    return "nightly", due.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(scope="session")
def bucket(platform: Platform) -> object:
    """The object store as its administrator (a boto3 client)."""
    return tenants.client(platform)


@contextmanager
def operator_scaled(tenant: Tenant, replicas: int) -> Iterator[None]:
    """The cluster's own operator scaled for a while."""
    apps, core = tenant.apps, tenant.core

    def scale(count: int) -> None:
        apps.patch_namespaced_deployment_scale(
            tenants.RELEASE, tenants.SYSTEM, {"spec": {"replicas": count}}
        )
        wait_for(
            lambda: (
                core.list_namespaced_pod(
                    tenants.SYSTEM, label_selector="app.kubernetes.io/name=qwen3-operator"
                ).items
            ),
            lambda pods: (
                len(pods) == count
                and all(c.ready for p in pods for c in (p.status.container_statuses or []))
            ),
            f"{count} operator pods",
            90,
        )

    scale(replicas)
    try:
        yield
    finally:
        scale(1)


@pytest.fixture
def outside_operator(
    platform: Platform, tenant: Tenant, tmp_path: Path
) -> Iterator[OperatorProcess]:
    """The operator as a process of the test instead of the cluster's: it can be killed at a point.

    Settings are those of the chart, but for where the credentials lie. It isn't started yet.
    """
    maps = tenant.core.read_namespaced_config_map(tenants.RELEASE, tenants.SYSTEM)
    settings = yaml.safe_load(maps.data["settings.yaml"])
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "AWS_ACCESS_KEY_ID").write_text(platform.store.credentials.access_key)
    (folder / "AWS_SECRET_ACCESS_KEY").write_text(platform.store.credentials.secret_key)
    settings["storage"]["default"]["credentialsDir"] = str(folder)
    operator = OperatorProcess(platform.cluster.kubeconfig, settings, tmp_path)
    with operator_scaled(tenant, 0):
        yield operator
        operator.stop()
