"""Edits: a training input makes a new revision while the old one serves; serving never retrains."""

from support.finetunes import Body, Tenant, is_true
from support.quickstart import QUICKSTART, service_url, steady_stream


def test_an_edit_of_the_learning_rate_flips_without_a_lost_request(
    quickstart: Body, tenant: Tenant
) -> None:
    before = tenant.get(QUICKSTART)["status"]["serving"]
    jobs = {j.metadata.uid for j in tenant.jobs(QUICKSTART)}
    url = service_url(tenant, quickstart)
    with steady_stream(url, before["modelName"]) as stream:
        changed = tenant.patch(
            QUICKSTART, {"hyperparameters": {"learningRate": "8e-3", "maxSteps": 12}}
        )
        while_training = tenant.wait(
            QUICKSTART,
            lambda b: (
                b["status"]["observedGeneration"] == changed["metadata"]["generation"]
                and b["status"]["training"].get("step") is not None
            ),
            "revision 2 trains",
        )
        assert is_true(while_training, "Served")
        assert is_true(while_training, "Degraded")
        assert not is_true(while_training, "Ready")
        assert while_training["status"]["serving"]["revision"] == before["revision"]
        after = tenant.wait_ready(QUICKSTART, 300)["status"]["serving"]
        tenant.wait(
            QUICKSTART, lambda _: after["modelID"] in stream.ids, "the stream saw the new one", 60
        )
    assert after["revision"] != before["revision"]
    assert stream.failures == []
    assert stream.ids == [before["modelID"], after["modelID"]]
    assert len(stream.answers) > 20
    assert len({j.metadata.uid for j in tenant.jobs(QUICKSTART)} - jobs) == 1


def test_reverting_the_edit_flips_back_without_training(quickstart: Body, tenant: Tenant) -> None:
    """Same inputs, same revision: its adapter is in the bucket already."""
    jobs = {j.metadata.uid for j in tenant.jobs(QUICKSTART)}
    original = quickstart["spec"]["hyperparameters"]
    edited = tenant.get(QUICKSTART)["spec"]["hyperparameters"]
    tenant.patch(QUICKSTART, {"hyperparameters": dict.fromkeys(edited) | original})
    body = tenant.wait_ready(QUICKSTART, 120)
    assert body["status"]["serving"]["digest"] == quickstart["status"]["serving"]["digest"]
    assert {j.metadata.uid for j in tenant.jobs(QUICKSTART)} == jobs
