"""The chart installed on a real API server: rights and admission as the operator and people meet
them. No pods run here; the local cluster's e2e tests do that."""

import base64
import copy
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart.rendering import CHART, NAMESPACE, RELEASE, VALUES, Helm, Manifest

from qwen3_api.job.evaluate import EvalEndpoint
from qwen3_api.v1alpha1.evaluation import EvalSpec
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_operator.evaluation.manifests import build_eval_objects, resolve_eval_job
from qwen3_operator.finetune.export.manifests import build_export_job
from qwen3_operator.finetune.preflight.manifests import build_preflight_job
from qwen3_operator.finetune.training.job_spec import (
    resolve_export_job,
    resolve_preflight_job,
    resolve_train_job,
)
from qwen3_operator.finetune.training.manifests import build_train_job
from qwen3_operator.finetune.views import ReadableFineTune, parse_finetune
from qwen3_operator.resources.base_model import resolve_job_model
from qwen3_operator.resources.job import build_parking
from qwen3_operator.resources.labels import FIELD_MANAGER
from qwen3_operator.resources.names import pool_name
from qwen3_operator.resources.storage import resolve_storage
from qwen3_operator.resources.views import Meta, parse_job
from qwen3_operator.serving.manifests import PoolSpec, build_pool_objects
from qwen3_operator.settings import Settings
from support.api_objects import EVAL_MINIMAL, FINE_TUNE_MINIMAL
from support.control_plane import ControlPlane
from support.operator_process import running_operator
from support.operator_world import SIZING, build_commit
from support.waiting import wait_for

pytestmark = pytest.mark.integration

TEAM = "team-a"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
Completed = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Installed:
    """A release on an API server."""

    plane: ControlPlane
    settings: dict[str, Any]

    def kubectl(self, user: str, *arguments: str, stdin: str = "") -> Completed:
        """kubectl as this user."""
        return self.plane.kubectl(f"--as={user}", *arguments, stdin=stdin)

    def apply(self, user: str, manifest: Manifest, *arguments: str) -> Completed:
        """Server-side apply, as the operator does it."""
        return self.kubectl(
            user, "apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "--filename=-",
            *arguments, stdin=json.dumps(manifest),
        )  # fmt: skip

    def can(self, user: str, verb: str, resource: str, namespace: str = TEAM) -> bool:
        """`kubectl auth can-i`; resource may have a subresource and a group."""
        name, _, sub = resource.partition("/")
        extra = [f"--subresource={sub}"] if sub else []
        answer = self.kubectl(user, "auth", "can-i", verb, name, f"--namespace={namespace}", *extra)
        return answer.stdout.strip() == "yes"

    @property
    def parsed(self) -> Settings:
        return Settings.model_validate(self.settings)


def expect(done: Completed) -> str:
    """The output of a command that must succeed."""
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def installed(control_plane: ControlPlane, helm: Helm) -> Iterator[Installed]:
    """The production case, installed by helm; removed at the end, with the resources staying."""
    plane = control_plane
    for namespace in (NAMESPACE, TEAM, "team-b", "elsewhere"):
        expect(plane.kubectl("create", "namespace", namespace))
    common = [f"--namespace={NAMESPACE}", f"--kubeconfig={plane.kubeconfig}"]
    # The CRDs are there already.
    expect(
        helm.run(
            "install", RELEASE, str(CHART), *common, "--skip-crds",
            f"--values={VALUES['production']}",
        )
    )  # fmt: skip
    found = json.loads(
        expect(plane.kubectl("get", "configmap", RELEASE, f"-n={NAMESPACE}", "-o=json"))
    )
    installed = Installed(plane, yaml.safe_load(found["data"]["settings.yaml"]))
    for user, role in (("alice", "edit"), ("bob", "view")):
        binding = ("create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}")
        expect(plane.kubectl(*binding, f"--namespace={TEAM}"))
    wait_until_in_force(installed)
    yield installed
    expect(helm.run("uninstall", RELEASE, *common))
    assert "qwen3finetunes" in expect(plane.kubectl("get", "crd", "-o=name"))


def wait_until_in_force(installed: Installed) -> None:
    """Policies and aggregated roles take effect a moment after they are stored."""
    probe = config_map("probe", {"qwen3.dev/managed": "true"})
    wait_for(
        lambda: (
            "the operator's to set" in installed.apply("alice", probe, "--dry-run=server").stderr,
            "images must be" in installed.apply(OPERATOR, foreign_job(), "--dry-run=server").stderr,
            installed.can("alice", "create", "qwen3finetunes.qwen3.dev"),
            installed.can("bob", "get", "qwen3finetunes.qwen3.dev"),
        ),
        all,
        "policies and roles in force",
        seconds=60,
    )


def config_map(name: str, labels: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": TEAM, "labels": labels},
    }


def foreign_job() -> Manifest:
    container = {"name": "c", "image": "miner", "resources": {"limits": {"memory": "1Mi"}}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "foreign", "namespace": TEAM},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }


@pytest.fixture(scope="session")
def fine_tune(installed: Installed) -> Manifest:
    """A fine-tune, created by a person with the `edit` role."""
    body = {
        "apiVersion": "qwen3.dev/v1alpha1",
        "kind": "Qwen3FineTune",
        "metadata": {"name": "support-bot", "namespace": TEAM},
        "spec": FINE_TUNE_MINIMAL,
    }
    expect(installed.kubectl("alice", "create", "--filename=-", stdin=json.dumps(body)))
    got = installed.kubectl("bob", "get", "q3ft", "support-bot", f"-n={TEAM}", "-o=json")
    return dict(json.loads(expect(got)))


@pytest.fixture(scope="session")
def children(installed: Installed, fine_tune: Manifest) -> list[Manifest]:
    """All that the operator makes for a fine-tune, an evaluation and a pool."""
    settings = installed.parsed
    parsed = parse_finetune(fine_tune, settings)
    assert isinstance(parsed, ReadableFineTune)
    storage = parsed.storage
    assert storage is not None
    meta, spec = parsed.meta, parsed.spec
    preflight = resolve_preflight_job(parsed, storage, settings, None)
    training = resolve_train_job(parsed, storage, settings, SIZING)
    export = resolve_export_job(parsed, build_commit(parsed), storage, settings)
    return [
        build_preflight_job(meta, spec, preflight, storage, settings),
        build_train_job(meta, spec, training, storage, settings),
        build_export_job(meta, spec, export, None, storage, settings),
        *evaluation_objects(parsed.meta, settings),
        *build_pool_objects(pool_spec(parsed.spec, settings), settings),
    ]


def evaluation_objects(meta: Meta, settings: Settings) -> tuple[Manifest, Manifest]:
    spec = EvalSpec.model_validate(EVAL_MINIMAL)
    storage = resolve_storage(spec.output.s3, settings)
    assert storage is not None
    target = EvalEndpoint(name="target", base_url="http://pool.team-a.svc/v1", model="m")
    order = resolve_eval_job(meta, spec, target, [], storage)
    return build_eval_objects(meta, spec, order, storage, settings)


def pool_spec(spec: FineTuneSpec, settings: Settings) -> PoolSpec:
    storage = resolve_storage(spec.artifacts.s3, settings)
    assert storage is not None
    return PoolSpec(
        namespace=TEAM,
        name=pool_name(spec.base_model, storage),
        base_model=spec.base_model.name,
        source=resolve_job_model(spec.base_model, storage, settings),
        storage=storage,
        replicas=1,
        hf_token_secret=None,
    )


def test_the_operator_may_make_and_remove_all_its_children(
    installed: Installed, children: list[Manifest]
) -> None:
    kinds = set()
    for manifest in children:
        kinds.add(manifest["kind"])
        expect(installed.apply(OPERATOR, manifest))
        # Once more: an update, where a create was before.
        expect(installed.apply(OPERATOR, manifest))
        if manifest["kind"] == "Job":
            name = manifest["metadata"]["name"]
            got = installed.plane.kubectl("get", "job", name, f"--namespace={TEAM}", "-o=json")
            parking = build_parking(TEAM, parse_job(json.loads(expect(got))))
            expect(installed.apply(OPERATOR, parking, "--field-manager=qwen3-operator-lifecycle"))
    assert kinds == {
        "ConfigMap", "Job", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy",
    }  # fmt: skip
    # Not by kubectl: it reads before and after, which the operator needs no right for.
    for manifest in children:
        expect(installed.plane.kubectl("get", "--filename=-", stdin=json.dumps(manifest)))
        assert installed.can(OPERATOR, "delete", resource_of(manifest))


def resource_of(manifest: Manifest) -> str:
    group = manifest["apiVersion"].rpartition("/")[0].partition("/")[0]
    plural = manifest["kind"].lower().removesuffix("y") + (
        "ies" if manifest["kind"].endswith("y") else "s"
    )
    return f"{plural}.{group}" if group else plural


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("get", "secrets"),
        ("list", "secrets"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("get", "pods/log"),
        ("create", "serviceaccounts/token"),
        ("create", "roles.rbac.authorization.k8s.io"),
        ("escalate", "roles.rbac.authorization.k8s.io"),
        ("impersonate", "users"),
        ("create", "qwen3finetunes.qwen3.dev"),
        ("delete", "qwen3finetunes.qwen3.dev"),
    ],
)
def test_the_operator_may_not(installed: Installed, verb: str, resource: str) -> None:
    assert not installed.can(OPERATOR, verb, resource)


@pytest.mark.parametrize("namespace", ["elsewhere", "default", "kube-system", NAMESPACE])
def test_the_operator_has_no_rights_elsewhere(installed: Installed, namespace: str) -> None:
    for resource in ("jobs.batch", "configmaps", "pods", "qwen3finetunes.qwen3.dev"):
        assert not installed.can(OPERATOR, "list", resource, namespace)


def test_the_lease_is_the_only_one_in_reach(installed: Installed) -> None:
    for name, allowed in ((RELEASE, True), ("other", False)):
        resource = f"leases.coordination.k8s.io/{name}"
        done = installed.kubectl(OPERATOR, "auth", "can-i", "update", resource, f"-n={NAMESPACE}")
        assert (done.stdout.strip() == "yes") is allowed


def pod_of(manifest: Manifest) -> dict[str, Any]:
    return dict(manifest["spec"]["template"]["spec"])


Break = Callable[[Any], None]
ESCAPES: dict[str, tuple[str, Break]] = {
    "foreign image": ("images must be", lambda p: p["containers"][0].update(image="miner")),
    "foreign init image": (
        "images must be",
        lambda p: p.setdefault("initContainers", []).append({"name": "x", "image": "miner"}),
    ),
    "host network": ("host namespaces", lambda p: p.update(hostNetwork=True)),
    "host processes": ("host namespaces", lambda p: p.update(hostPID=True)),
    "host path": (
        "volumes must be",
        lambda p: p["volumes"].append({"name": "h", "hostPath": {"path": "/"}}),
    ),
    "secret of another": (
        "volumes must be",
        lambda p: p["volumes"].append({"name": "s", "secret": {"secretName": "x"}}),
    ),
    "privileged": (
        "unprivileged",
        lambda p: p["containers"][0]["securityContext"].update(
            privileged=True, allowPrivilegeEscalation=True
        ),
    ),
    "escalation": (
        "without escalation",
        lambda p: p["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
    ),
    "capability": (
        "added capabilities",
        lambda p: p["containers"][0]["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
    ),
    "root": ("non-root", lambda p: p["securityContext"].update(runAsNonRoot=False)),
    "another account": ("no service account", lambda p: p.update(serviceAccountName="builder")),
    "old field of the account": (
        "no service account",
        lambda p: p.update(serviceAccount="builder"),
    ),
    "token": ("no service account", lambda p: p.update(automountServiceAccountToken=True)),
}


@pytest.mark.parametrize("kind", ["Job", "Deployment"])
@pytest.mark.parametrize("escape", ESCAPES)
def test_the_operator_cannot_be_made_to(
    installed: Installed, children: list[Manifest], kind: str, escape: str
) -> None:
    message, break_pod = ESCAPES[escape]
    manifest = copy.deepcopy(next(m for m in children if m["kind"] == kind))
    manifest["metadata"]["name"] = "escape"
    break_pod(manifest["spec"]["template"]["spec"])
    done = installed.apply(OPERATOR, manifest, "--dry-run=server")
    assert done.returncode != 0
    assert message in done.stderr


def test_an_update_of_a_pool_is_checked_too(installed: Installed, children: list[Manifest]) -> None:
    deployment = copy.deepcopy(next(m for m in children if m["kind"] == "Deployment"))
    expect(installed.apply(OPERATOR, deployment))
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "miner"
    assert "images must be" in installed.apply(OPERATOR, deployment, "--dry-run=server").stderr


def test_others_are_not_held_to_the_operators_rules(installed: Installed) -> None:
    expect(installed.apply("alice", foreign_job(), "--dry-run=server"))


def test_people_cannot_claim_the_operators_label(installed: Installed) -> None:
    claimed = foreign_job()
    claimed["metadata"]["labels"] = {"qwen3.dev/managed": "true"}
    refused = installed.apply("alice", claimed, "--dry-run=server")
    assert "the operator's to set" in refused.stderr
    expect(installed.apply("alice", config_map("mine", {})))
    label = ("label", "configmap", "mine", f"-n={TEAM}", "qwen3.dev/managed=true")
    assert "the operator's to set" in installed.kubectl("alice", *label).stderr


def test_people_may_restart_a_pool(installed: Installed, children: list[Manifest]) -> None:
    deployment = next(m for m in children if m["kind"] == "Deployment")
    expect(installed.apply(OPERATOR, deployment))
    name = f"deployment/{deployment['metadata']['name']}"
    expect(installed.kubectl("alice", "rollout", "restart", name, f"--namespace={TEAM}"))


def test_people_cannot_write_status(installed: Installed, fine_tune: Manifest) -> None:
    name = fine_tune["metadata"]["name"]
    patch = ("patch", "q3ft", name, f"-n={TEAM}", "--type=merge")
    expect(installed.kubectl("alice", *patch, '-p={"spec":{"suspend":false}}'))
    status = (*patch, "--subresource=status", '-p={"status":{"stage":"Ready"}}')
    assert "Forbidden" in installed.kubectl("alice", *status).stderr
    assert "Forbidden" in installed.kubectl("bob", *patch, '-p={"spec":{"suspend":true}}').stderr


def test_the_operator_runs_with_these_rights(
    installed: Installed, fine_tune: Manifest, tmp_path: Path
) -> None:
    """The real process, logged in as its service account: every list and watch is allowed."""
    plane = installed.plane
    token = expect(plane.kubectl("create", "token", RELEASE, f"--namespace={NAMESPACE}")).strip()
    admin = yaml.safe_load(plane.kubeconfig.read_text())
    config = {
        **admin,
        "users": [{"name": user["name"], "user": {"token": token}} for user in admin["users"]],
    }
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    payload = token.split(".")[1]
    assert OPERATOR in base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
    # A store that nobody answers at: rights are what is looked at here.
    keys = tmp_path / "keys"
    keys.mkdir()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        (keys / name).write_text("none")
    store = {"endpoint": "http://127.0.0.1:9", "bucket": "b", "credentialsDir": str(keys)}
    settings = {**installed.settings, "storage": {"default": store}}
    with running_operator(kubeconfig, settings, tmp_path) as operator:
        wait_for(
            lambda: operator.metric("qwen3_operator_reconciles_total"),
            lambda count: count > 0,
            "a reconcile",
            seconds=60,
        )
        refused = [key for key in operator.metrics() if 'code="403"' in key]
        assert not refused
        # A kopf watch that is refused would end the process.
        wait_for(
            lambda: operator.metric("qwen3_operator_cached_objects"),
            lambda count: count > 0,
            "cached objects",
            seconds=30,
        )
    assert "orbidden" not in operator.log
