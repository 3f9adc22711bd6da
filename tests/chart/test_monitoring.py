"""Alerts: expressions that parse, over metrics that exist."""

import re

import promql_parser
import pytest
from chart.rendering import Manifest, of_kind, only, render_case
from prometheus_client import REGISTRY

from qwen3_operator.controller import metrics
from qwen3_operator.controller.reconciler import Verdict

KUBE_STATE_METRICS = {
    "kube_deployment_status_replicas_available", "kube_deployment_spec_replicas",
}  # fmt: skip
CASES = ["production", "cluster-wide"]


def rules(case: str) -> list[Manifest]:
    (group,) = only(render_case(case), "PrometheusRule")["spec"]["groups"]
    return list(group["rules"])


def own_samples() -> set[str]:
    """Names of all samples that the operator exports."""
    assert metrics.LEADER is not None
    names: set[str] = set()
    for family in REGISTRY.collect():
        suffixes = {
            "counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"),
        }.get(family.type, ("",))  # fmt: skip
        names |= {family.name + suffix for suffix in suffixes}
    return names


@pytest.mark.parametrize("case", CASES)
def test_expressions_parse(case: str) -> None:
    for rule in rules(case):
        promql_parser.parse(rule["expr"])


@pytest.mark.parametrize("case", CASES)
def test_metrics_exist(case: str) -> None:
    known = own_samples() | KUBE_STATE_METRICS | {"up"}
    for rule in rules(case):
        used = set(re.findall(r"([a-z0-9_]+)\{", rule["expr"]))
        assert used, rule["alert"]
        assert used <= known, rule["alert"]


def test_outcomes_exist() -> None:
    assert Verdict.__doc__ is not None
    for rule in rules("production"):
        for outcomes in re.findall(r'outcome=~?"([a-z|]+)"', rule["expr"]):
            for outcome in outcomes.split("|"):
                assert outcome in Verdict.__doc__, rule["alert"]


def test_alerts_say_what_and_what_to_do() -> None:
    for rule in rules("production"):
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description"}


def test_off_by_default() -> None:
    manifests = render_case("minimal")
    assert not of_kind(manifests, "ServiceMonitor")
    assert not of_kind(manifests, "PrometheusRule")


def test_the_monitor_finds_the_service() -> None:
    manifests = render_case("production")
    monitor, service = only(manifests, "ServiceMonitor")["spec"], only(manifests, "Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    ports = {port["name"] for port in service["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["endpoints"]} <= ports
