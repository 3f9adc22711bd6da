"""SIGKILL of the operator at the worst moments, and its absence during a whole run."""

from typing import Any

import pytest

from qwen3_api.job import layout
from support.finetunes import Body, Tenant, is_true, stage
from support.operator_process import OperatorProcess
from support.quickstart import (
    NAMESPACE,
    QUICKSTART,
    ask,
    service_url,
    small_spec,
)
from support.waiting import wait_for

KILLED = -9


pytestmark = pytest.mark.usefixtures("rows", "quickstart")  # which keeps the pool warm


def commits(bucket: Any, body: Body) -> list[str]:
    """Keys of all commits of a fine-tune."""
    prefix = layout.finetune_prefix("qwen3", NAMESPACE, body["metadata"]["uid"])
    found = bucket.list_objects_v2(Bucket="qwen3", Prefix=prefix + "/").get("Contents", [])
    return [o["Key"] for o in found if o["Key"].endswith(layout.COMMIT)]


def test_a_crash_at_every_point_converges_to_one_job_and_one_commit(
    outside_operator: OperatorProcess, tenant: Tenant, bucket: Any
) -> None:
    """One fine-tune lives through a kill at each point in turn; the run is never disturbed."""
    operator, name = outside_operator, "crashes"
    operator.start(failpoint="after-job-created")
    operator.wait_leading()
    body = tenant.create(name, small_spec(serving={"mode": "SharedBase"}))
    assert operator.wait_dead() == KILLED
    jobs = [j.metadata.uid for j in tenant.jobs(name)]
    assert len(jobs) == 1
    assert stage(tenant.get(name)) == "Preflight", "no status tells of the Job yet"

    operator.start(failpoint="before-status")
    assert operator.wait_dead() == KILLED
    assert stage(tenant.get(name)) == "Preflight"

    operator.start(failpoint="after-commit")
    assert operator.wait_dead() == KILLED
    assert len(commits(bucket, body)) == 1

    operator.start(failpoint="between-load-and-flip")
    assert operator.wait_dead() == KILLED
    served = tenant.get(QUICKSTART)
    answer = ask(service_url(tenant, served), served["status"]["serving"]["modelName"], "Hello")
    assert answer.model_id == served["status"]["serving"]["modelID"]

    operator.start()
    body = tenant.wait_ready(name, 120)
    assert [j.metadata.uid for j in tenant.jobs(name)] == jobs
    assert len(tenant.training_pods(name)) == 1
    assert len(commits(bucket, body)) == 1
    serving = body["status"]["serving"]
    answer = ask(service_url(tenant, body), serving["modelName"], "Hello")
    assert answer.model_id == serving["modelID"]


def test_an_absent_operator_loses_nothing(
    outside_operator: OperatorProcess, tenant: Tenant, bucket: Any
) -> None:
    """Down from the creation of the Job to its end: on return, straight to Served."""
    operator, name = outside_operator, "absent"
    operator.start()
    operator.wait_leading()
    tenant.create(name, small_spec(serving={"mode": "SharedBase"}))
    wait_for(lambda: tenant.jobs(name), bool, "the Job exists", 180)
    operator.stop()
    wait_for(
        lambda: tenant.jobs(name)[0].status.succeeded, lambda n: n == 1, "the Job is done", 180
    )
    assert not is_true(tenant.get(name), "Trained")
    operator.start()
    body = tenant.wait_ready(name, 120)
    assert len(tenant.jobs(name)) == 1
    assert len(commits(bucket, body)) == 1


def test_deleting_one_fine_tune_leaves_the_pool_to_the_others(
    quickstart: Body, tenant: Tenant
) -> None:
    before = {p.metadata.uid for p in tenant.pool_pods()}
    for name in ("crashes", "absent"):
        tenant.delete(name)
    body = tenant.wait_ready(QUICKSTART, 180)
    serving = body["status"]["serving"]
    assert ask(service_url(tenant, body), serving["modelName"], "Hello").model_id
    assert {p.metadata.uid for p in tenant.pool_pods()} == before
