"""The operator's pods: the *restricted* Pod Security Standard, probes, replicas, network."""

import pytest
from chart.rendering import Manifest, of_kind, only, render_case

from qwen3_api.serving.pool import AGENT_PORT
from qwen3_operator.app import GRACE_SECONDS

RESTRICTED_VOLUMES = {"configMap", "emptyDir", "secret", "projected", "downwardAPI"}


def pods_of(manifests: tuple[Manifest, ...]) -> list[Manifest]:
    """Every pod spec that the chart makes, whatever kind holds it."""
    return [
        manifest["spec"]["template"]["spec"]
        for manifest in manifests
        if "template" in manifest.get("spec", {})
    ]


def test_restricted(manifests: tuple[Manifest, ...]) -> None:
    assert pods_of(manifests)
    for pod in pods_of(manifests):
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for volume in pod["volumes"]:
            assert set(volume) - {"name"} <= RESTRICTED_VOLUMES
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]


def test_probes_and_grace(manifests: tuple[Manifest, ...]) -> None:
    pod = only(manifests, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    assert pod["terminationGracePeriodSeconds"] > GRACE_SECONDS


def test_two_replicas_spread_and_have_a_budget() -> None:
    manifests = render_case("production")
    deployment = only(manifests, "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    keys = []
    for constraint in deployment["template"]["spec"]["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"].items() <= labels.items()
        keys.append(constraint["topologyKey"])
    assert keys == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    budget = only(manifests, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == deployment["selector"]


def test_one_replica_has_no_budget() -> None:
    """A budget over one pod could block the drain of a node."""
    assert not of_kind(render_case("minimal"), "PodDisruptionBudget")


def test_service_and_selectors_meet(manifests: tuple[Manifest, ...]) -> None:
    deployment = only(manifests, "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"].items() <= labels.items()
    assert only(manifests, "Service")["spec"]["selector"] == deployment["selector"]["matchLabels"]


def operator_policy(case: str) -> Manifest:
    (policy,) = [
        policy["spec"]
        for policy in of_kind(list(render_case(case)), "NetworkPolicy")
        if policy["metadata"]["namespace"] == "qwen3-system"
    ]
    return policy


@pytest.mark.parametrize(
    ("case", "ports"),
    [("minimal", {53, 443, 6443, AGENT_PORT}), ("production", {53, 443, 6443, 8333, AGENT_PORT})],
)
def test_egress_is_closed_but_for_what_is_needed(case: str, ports: set[int]) -> None:
    policy = operator_policy(case)
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert {int(p["port"]) for rule in policy["egress"] for p in rule["ports"]} == ports


def test_metrics_are_for_one_namespace_or_none() -> None:
    (rule,) = operator_policy("minimal")["ingress"]
    selector = rule["from"][0]["namespaceSelector"]["matchLabels"]
    assert selector == {"kubernetes.io/metadata.name": "monitoring"}
    assert operator_policy("cluster-wide")["ingress"] == []


def test_the_metadata_service_is_blocked_everywhere() -> None:
    for policy in of_kind(list(render_case("minimal")), "NetworkPolicy"):
        for rule in policy["spec"]["egress"]:
            for peer in rule.get("to", ()):
                block = peer.get("ipBlock", {})
                if block.get("cidr") == "0.0.0.0/0":
                    assert block["except"] == ["169.254.169.254/32"]


def test_jobs_of_each_watched_namespace_have_a_policy() -> None:
    policies = of_kind(list(render_case("production")), "NetworkPolicy")
    jobs = [p for p in policies if p["metadata"]["name"].endswith("-jobs")]
    assert {p["metadata"]["namespace"] for p in jobs} == {"team-a", "team-b"}
    assert all(p["spec"]["ingress"] == [] for p in jobs)
