"""A pod that goes away in mid-training, and a run that is parked: both go on where they were."""

from support.finetunes import Body, Tenant, condition
from support.quickstart import small_spec
from support.waiting import hold_for, wait_for

NAME = "interrupted"
STEPS = 160
HYPERPARAMETERS = small_spec()["hyperparameters"] | {"maxSteps": STEPS}


def step(body: Body) -> int:
    """The step that status tells."""
    return int(body.get("status", {}).get("training", {}).get("step") or 0)


def checkpoint(body: Body) -> int:
    """The step of the newest checkpoint in the bucket."""
    training = body.get("status", {}).get("training", {})
    return int(training.get("lastCheckpoint", {}).get("step") or 0)


def test_a_deleted_pod_resumes_and_a_suspended_run_is_parked(
    quickstart: Body, tenant: Tenant
) -> None:
    tenant.create(NAME, small_spec(hyperparameters=HYPERPARAMETERS, checkpoint={"everySteps": 10}))
    body = tenant.wait(NAME, lambda b: checkpoint(b) >= 10, "a checkpoint", 180)
    first = tenant.training_pods(NAME)[0]
    tenant.core.delete_namespaced_pod(first.metadata.name, tenant.namespace)
    saved = checkpoint(body)
    body = tenant.wait(
        NAME,
        lambda b: (
            (b["status"]["training"].get("resumedFromStep") or 0) >= saved
            and b["status"]["training"]["attempt"] != first.metadata.uid
            and step(b) > b["status"]["training"]["resumedFromStep"]
        ),
        "the next pod goes on from the checkpoint",
        180,
    )
    job = tenant.jobs(NAME)[0]
    assert not job.status.failed
    assert len(tenant.jobs(NAME)) == 1

    tenant.patch(NAME, {"suspend": True})
    body = tenant.wait(
        NAME, lambda b: (condition(b, "Ready") or {}).get("reason") == "Suspended", "parked", 60
    )
    wait_for(
        lambda: [p for p in tenant.training_pods(NAME) if p.status.phase == "Running"],
        lambda running: not running,
        "no pod runs",
        90,
    )
    assert tenant.jobs(NAME)[0].spec.suspend is True
    hold_for(
        lambda: [p for p in tenant.training_pods(NAME) if p.status.phase == "Running"],
        lambda running: not running,
        "stays parked",
        5,
    )
    parked_at = step(tenant.get(NAME))
    assert 0 < parked_at < STEPS

    tenant.patch(NAME, {"suspend": False})
    body = tenant.wait_ready(NAME, 240)
    training = body["status"]["training"]
    assert training["progress"] == f"{STEPS}/{STEPS}"
    assert training["resumedFromStep"] >= parked_at - 10
    wait_for(lambda: tenant.jobs(NAME)[0].status.succeeded, lambda n: n == 1, "the Job is done", 60)
    assert not tenant.jobs(NAME)[0].status.failed
