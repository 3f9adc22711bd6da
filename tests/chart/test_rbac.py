"""Rights: what the operator must have, and what it must never get."""

import pytest
from chart.rendering import Manifest, of_kind, only, render_case

from qwen3_operator.controller.kind import Kind
from qwen3_operator.resources.kinds import EVALUATION, KINDS

READ = {"get", "list", "watch"}
FORBIDDEN_RESOURCES = {
    "*", "secrets", "serviceaccounts", "serviceaccounts/token", "pods/exec", "pods/attach",
    "pods/log", "pods/portforward", "pods/ephemeralcontainers", "nodes", "roles", "rolebindings",
    "clusterroles", "clusterrolebindings",
}  # fmt: skip
FORBIDDEN_VERBS = {"*", "escalate", "bind", "impersonate", "approve", "sign"}
USERS = "-editor", "-viewer"


def rules_of(manifests: tuple[Manifest, ...]) -> list[Manifest]:
    """The rules of every role of the operator itself."""
    roles = of_kind(manifests, "Role") + of_kind(manifests, "ClusterRole")
    return [
        r for role in roles if not role["metadata"]["name"].endswith(USERS) for r in role["rules"]
    ]


def verbs_on(manifests: tuple[Manifest, ...], group: str, resource: str) -> set[str]:
    return {
        verb
        for rule in rules_of(manifests)
        if group in rule["apiGroups"] and resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_nothing_dangerous(manifests: tuple[Manifest, ...]) -> None:
    for role in of_kind(manifests, "Role") + of_kind(manifests, "ClusterRole"):
        for rule in role["rules"]:
            assert not FORBIDDEN_RESOURCES & set(rule["resources"]), role
            assert not FORBIDDEN_VERBS & set(rule["verbs"]), role
            assert "*" not in rule["apiGroups"], role
            assert "nonResourceURLs" not in rule, role


@pytest.mark.parametrize("case", ["production", "cluster-wide"])
@pytest.mark.parametrize("kind", KINDS.cached, ids=lambda kind: kind.plural)
def test_everything_cached_can_be_read(case: str, kind: Kind) -> None:
    assert verbs_on(render_case(case), kind.group, kind.plural) >= READ


@pytest.mark.parametrize("kind", KINDS.custom, ids=lambda kind: kind.plural)
def test_what_is_written_of_custom_resources(kind: Kind) -> None:
    """Fine-tunes are the users'; evaluations are made too, for the fine-tunes that ask for one."""
    manifests = render_case("production")
    made = {"create", "update", "delete"} & verbs_on(manifests, kind.group, kind.plural)
    assert made == ({"create", "delete"} if kind is EVALUATION else set())
    assert verbs_on(manifests, kind.group, f"{kind.plural}/status") == {"patch"}


def test_the_lease_is_its_own(manifests: tuple[Manifest, ...], case: str) -> None:
    if case == "plain":
        assert not rules_of(manifests)
        return
    rules = [rule for rule in rules_of(manifests) if "leases" in rule["resources"]]
    assert [(rule["verbs"], rule.get("resourceNames")) for rule in rules] == [
        (["get", "update"], [only(manifests, "Deployment")["metadata"]["name"]]),
        (["create"], None),
    ]


def test_a_role_in_each_namespace_and_nothing_cluster_wide() -> None:
    manifests = render_case("production")
    assert not of_kind(manifests, "ClusterRoleBinding")
    assert all(
        role["metadata"]["name"].endswith(USERS) for role in of_kind(manifests, "ClusterRole")
    )
    for kind in ("Role", "RoleBinding"):
        assert {m["metadata"]["namespace"] for m in of_kind(manifests, kind)} == {
            "qwen3-system", "team-a", "team-b",
        }  # fmt: skip


def test_cluster_wide_by_one_cluster_role() -> None:
    manifests = render_case("cluster-wide")
    binding = only(manifests, "ClusterRoleBinding")
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "qwen3-operator", "namespace": "qwen3-system"}
    ]
    assert only(manifests, "Role")["metadata"]["namespace"] == "qwen3-system"


def test_people_cannot_write_status() -> None:
    roles = {r["metadata"]["name"]: r for r in of_kind(render_case("production"), "ClusterRole")}
    assert len(roles) == len(USERS)
    for name, role in roles.items():
        assert {rs for rule in role["rules"] for rs in rule["resources"]} == {
            "qwen3finetunes", "qwen3evals",
        }  # fmt: skip
        verbs = {verb for rule in role["rules"] for verb in rule["verbs"]}
        assert (verbs == READ) is name.endswith("-viewer")
