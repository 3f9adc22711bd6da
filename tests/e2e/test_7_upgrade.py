"""Today's operator takes over what the release before left behind: nothing that runs restarts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from qwen3_api.job import layout
from qwen3_local import tenants
from qwen3_local.images import build_tree
from qwen3_local.tenants import Platform
from support.finetunes import Body, Tenant
from support.quickstart import NAMESPACE, QUICKSTART, service_url, small_spec, steady_stream
from support.release_before import extract_commit, read_record
from support.waiting import wait_for

NAME = "upgraded"
STEPS = 1200
"""Enough to outlast the upgrade; the test says so when they aren't."""


def lease_holder(tenant: Tenant) -> str:
    """The pod that holds the operator's Lease, or ""."""
    leases = client.CoordinationV1Api(tenant.api)
    holder = leases.read_namespaced_lease(tenants.RELEASE, tenants.SYSTEM).spec.holder_identity
    return str(holder or "").rpartition("_")[0]


def operator_pods(tenant: Tenant, digest: str) -> list[str]:
    """Names of the operator's pods of an image."""
    found = tenant.core.list_namespaced_pod(
        tenants.SYSTEM, label_selector="app.kubernetes.io/name=qwen3-operator"
    ).items
    return [p.metadata.name for p in found if p.spec.containers[0].image.endswith(digest)]


def install(platform: Platform, tenant: Tenant, digest: str, chart: Path = tenants.CHART) -> None:
    """Upgrade the release to an operator image, until one of its pods holds the Lease."""
    values = tenants.local_values(platform) | {"image": {"digest": digest}}
    tenants.install_chart(platform, values, chart)
    wait_for(
        lambda: lease_holder(tenant),
        lambda holder: holder in operator_pods(tenant, digest),
        "the new operator holds the Lease",
        90,
    )


def observe_edit(tenant: Tenant, name: str, seconds: int) -> None:
    """Wait until the operator has answered an edit that changes nothing of what runs."""
    edited = tenant.patch(name, {"promotion": {"keepPreviousSeconds": seconds}})
    generation = edited["metadata"]["generation"]
    tenant.wait(
        name,
        lambda b: b.get("status", {}).get("observedGeneration", 0) >= generation,
        "the edit is observed",
        90,
    )


def running(tenant: Tenant, name: str) -> dict[str, Any]:
    """Identities of all that must survive: pods with their restarts, Deployments, Jobs."""
    selector = "qwen3.dev/pool"
    pools = tenant.apps.list_namespaced_deployment(tenant.namespace, label_selector=selector).items
    sets = tenant.apps.list_namespaced_replica_set(tenant.namespace, label_selector=selector).items
    pods = [*tenant.pool_pods(), *tenant.training_pods(name)]
    return {
        "pods": {
            p.metadata.uid: sum(
                s.restart_count
                for s in [
                    *(p.status.init_container_statuses or ()),
                    *(p.status.container_statuses or ()),
                ]
            )
            for p in pods
        },
        "deployments": {d.metadata.uid: d.metadata.generation for d in pools},
        "templates": sorted(
            s.metadata.labels["pod-template-hash"] for s in sets if s.spec.replicas
        ),
        "jobs": [j.metadata.uid for j in tenant.jobs(name)],
    }


@pytest.fixture
def before(
    platform: Platform, quickstart: Body, rows: None, tenant: Tenant, tmp_path: Path
) -> Iterator[Body]:
    """The namespace under the operator and chart of the release before; today's at the end."""
    tree = extract_commit(read_record()["commit"], tmp_path)
    image = build_tree("operator", tree)
    assert image.digest != platform.images["operator"].digest
    try:
        install(platform, tenant, image.digest, tree / "helm" / "qwen3-operator")
        observe_edit(tenant, QUICKSTART, 601)
        yield tenant.wait_ready(QUICKSTART, 420)
    finally:
        tenants.install_chart(platform)
        tenant.delete(NAME)


def test_an_upgrade_restarts_nothing_that_runs(
    platform: Platform, before: Body, tenant: Tenant, bucket: Any
) -> None:
    hyperparameters = small_spec()["hyperparameters"] | {"maxSteps": STEPS}
    created = tenant.create(
        NAME,
        small_spec(
            hyperparameters=hyperparameters,
            checkpoint={"everySteps": 200},
            serving={"mode": "SharedBase"},
        ),
    )
    tenant.wait(
        NAME,
        lambda b: b.get("status", {}).get("training", {}).get("step"),
        "the old operator reports steps",
        180,
    )
    left, serving = running(tenant, NAME), before["status"]["serving"]
    with steady_stream(service_url(tenant, before), serving["modelName"]) as stream:
        install(platform, tenant, platform.images["operator"].digest)
        for name in (QUICKSTART, NAME):
            observe_edit(tenant, name, 602)
        assert not tenant.jobs(NAME)[0].status.succeeded, "ended too early: raise STEPS"
        assert running(tenant, NAME) == left
        body = tenant.wait_ready(NAME, 300)
    assert stream.failures == []
    assert stream.answers
    assert stream.ids == [serving["modelID"]]
    assert running(tenant, NAME) == left
    assert not body["status"]["training"].get("resumedFromStep")
    assert len(body["status"]["revisions"]) == 1
    prefix = layout.finetune_prefix("qwen3", NAMESPACE, created["metadata"]["uid"])
    found = bucket.list_objects_v2(Bucket="qwen3", Prefix=prefix + "/").get("Contents", [])
    assert len([o for o in found if o["Key"].endswith(layout.COMMIT)]) == 1
    after = tenant.wait_ready(QUICKSTART)["status"]["serving"]
    assert after["modelID"] == serving["modelID"]
