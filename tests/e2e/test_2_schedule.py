"""A scheduled evaluation ran by itself, beside everything that was tested meanwhile."""

from datetime import timedelta
from typing import Any

from qwen3_api.job import layout
from qwen3_operator.resources.views import parse_time
from support.finetunes import EVALS, Tenant
from support.quickstart import NAMESPACE


def test_it_asked_what_served_at_its_time(
    scheduled: tuple[str, str], tenant: Tenant, bucket: Any
) -> None:
    name, due = scheduled
    body = tenant.wait(name, lambda b: "verdict" in b["status"], "a verdict", 240, EVALS)
    status = body["status"]
    (line,) = status["schedule"]["history"]
    assert line["scheduledTime"] == due
    assert line["verdict"] == status["verdict"] == "Completed"
    assert parse_time(status["schedule"]["nextTime"]) == parse_time(due) + timedelta(days=1)
    run = tenant.get(line["name"], EVALS)
    assert "schedule" not in run["spec"]
    assert run["status"]["score"] == line["score"] == status["score"]
    assert run["status"]["resolved"]["targetRevision"] == line["revision"]
    folder = layout.eval_prefix("qwen3", NAMESPACE, run["metadata"]["uid"])
    assert line["reportURI"] == f"s3://qwen3/{folder}/{layout.REPORT_HTML}"
    assert bucket.head_object(Bucket="qwen3", Key=f"{folder}/{layout.REPORT}")["ContentLength"]
