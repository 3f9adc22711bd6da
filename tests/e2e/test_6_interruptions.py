"""A pod that goes away in mid-training, and a run that is parked: both go on where they were."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.finetunes import Body, Tenant, condition
from support.quickstart import small_spec
from support.waiting import hold_for, wait_for

NAME = "interrupted"
STEPS = 100_000
"""More than any machine makes while this test looks on."""
EVERY = 20
HYPERPARAMETERS = small_spec()["hyperparameters"] | {"maxSteps": STEPS}


@pytest.fixture
def endless(rows: None, tenant: Tenant) -> Iterator[str]:
    """A run that doesn't end by itself."""
    spec = small_spec(hyperparameters=HYPERPARAMETERS, checkpoint={"everySteps": EVERY})
    tenant.create(NAME, spec)
    yield NAME
    tenant.delete(NAME)
    wait_for(lambda: tenant.training_pods(NAME), lambda pods: not pods, "its pods are gone", 180)


def step(body: Body) -> int:
    """The step that status tells."""
    return int(body.get("status", {}).get("training", {}).get("step") or 0)


def checkpoint(body: Body) -> int:
    """The step of the newest checkpoint in the bucket."""
    training = body.get("status", {}).get("training", {})
    return int(training.get("lastCheckpoint", {}).get("step") or 0)


def went_on(body: Body, saved: int, attempt: str) -> bool:
    """Another pod makes steps, beyond the checkpoint that it began at."""
    training = body["status"]["training"]
    resumed = int(training.get("resumedFromStep") or 0)
    return bool(resumed >= saved and training["attempt"] != attempt and step(body) > resumed)


def running(tenant: Tenant) -> list[Any]:
    """Its pods that run."""
    return [p for p in tenant.training_pods(NAME) if p.status.phase == "Running"]


def test_a_deleted_pod_resumes_and_a_suspended_run_is_parked(endless: str, tenant: Tenant) -> None:
    body = tenant.wait(endless, lambda b: checkpoint(b) >= EVERY, "a checkpoint", 180)
    first, saved = tenant.training_pods(endless)[0].metadata, checkpoint(body)
    tenant.core.delete_namespaced_pod(first.name, tenant.namespace)
    body = tenant.wait(
        endless, lambda b: went_on(b, saved, first.uid), "the next pod goes on from there", 180
    )
    assert len(tenant.jobs(endless)) == 1
    assert not tenant.jobs(endless)[0].status.failed

    second = body["status"]["training"]["attempt"]
    tenant.patch(endless, {"suspend": True})
    tenant.wait(
        endless, lambda b: (condition(b, "Ready") or {}).get("reason") == "Suspended", "parked", 60
    )
    wait_for(lambda: running(tenant), lambda pods: not pods, "no pod runs", 180)
    assert tenant.jobs(endless)[0].spec.suspend is True
    hold_for(lambda: running(tenant), lambda pods: not pods, "stays parked", 5)
    parked_at = checkpoint(tenant.get(endless))
    assert saved <= parked_at < STEPS

    tenant.patch(endless, {"suspend": False})
    tenant.wait(
        endless, lambda b: went_on(b, parked_at, second), "goes on where it was parked", 240
    )
    assert len(tenant.jobs(endless)) == 1
    assert not tenant.jobs(endless)[0].status.failed
