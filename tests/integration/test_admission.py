"""The API server says the same as the models, with the field and our words.

Same table as `tests/unit/qwen3_api/test_rules.py`, and what users meet on the way: kubectl,
server-side apply (GitOps), defaults, columns, the status subresource.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from qwen3_api.kinds import EVAL, FINE_TUNE, KINDS, ResourceKind
from qwen3_api.v1alpha1.meta import GROUP, VERSION, StatusModel
from support.api_boundaries import boundary_cases, duplicate_cases, required_cases
from support.api_cases import CASES, TRANSITIONS, Refusal, model_refusals
from support.api_objects import (
    FINE_TUNE_MINIMAL,
    FULL,
    MINIMAL,
    ApiCase,
    TransitionCase,
    changed,
    manifest,
    path_steps,
)
from support.api_status import EVAL_STATUS, FINE_TUNE_STATUS
from support.control_plane import ControlPlane

pytestmark = pytest.mark.integration

DERIVED = [*boundary_cases(), *duplicate_cases(), *required_cases()]
STATUSES: dict[str, StatusModel] = {FINE_TUNE.kind: FINE_TUNE_STATUS, EVAL.kind: EVAL_STATUS}
MISSPELT = changed(FINE_TUNE_MINIMAL, {"hyperparameters.learningrate": "1e-4"})

Body = dict[str, Any]


@dataclass(frozen=True)
class Objects:
    """Our custom resources in the namespace `default` of a control plane."""

    plane: ControlPlane

    def create(self, kind: ResourceKind, body: Body, **options: Any) -> Body:
        """POST; strict about unknown fields, as kubectl is, unless told otherwise."""
        options = {"field_validation": "Strict"} | options
        created: Body = client.CustomObjectsApi(self.plane.api).create_namespaced_custom_object(
            GROUP, VERSION, "default", kind.plural, body, **options
        )
        return created

    def replace(self, kind: ResourceKind, body: Body, **options: Any) -> Body:
        replaced: Body = client.CustomObjectsApi(self.plane.api).replace_namespaced_custom_object(
            GROUP, VERSION, "default", kind.plural, body["metadata"]["name"], body, **options
        )
        return replaced

    def apply(self, kind: ResourceKind, body: Body, *subresource: str) -> Body:
        """Server-side apply, as Flux, Argo CD and the operator do it."""
        answer = self._call(
            "PATCH",
            "/".join((kind.plural, body["metadata"]["name"], *subresource)),
            "application/json",
            body=body,
            query=[("fieldManager", "tests")],
        )
        applied: Body = json.loads(answer)
        return applied

    def table(self, kind: ResourceKind, name: str) -> dict[str, Any]:
        """The printed columns of an object, by their heading."""
        accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
        table = json.loads(self._call("GET", f"{kind.plural}/{name}", accept))
        headings = [column["name"] for column in table["columnDefinitions"]]
        return dict(zip(headings, table["rows"][0]["cells"], strict=True))

    def _call(
        self,
        method: str,
        path: str,
        accept: str,
        body: Body | None = None,
        query: list[tuple[str, str]] | None = None,
    ) -> bytes:
        answer = self.plane.api.call_api(
            f"/apis/{GROUP}/{VERSION}/namespaces/default/{path}",
            method,
            query_params=query or [],
            header_params={"Accept": accept, "Content-Type": "application/apply-patch+yaml"},
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _return_http_data_only=True,
        )
        content: bytes = answer.data
        return content


@pytest.fixture(scope="module")
def objects(control_plane: ControlPlane) -> Objects:
    return Objects(control_plane)


def server_refusals(error: ApiException) -> list[Refusal]:
    """The causes of a 422, each with its field."""
    assert error.status == 422, error.body
    causes = json.loads(error.body)["details"]["causes"]
    return [Refusal(cause.get("field", ""), cause["message"]) for cause in causes]


def refusals_of(objects: Objects, case: ApiCase) -> list[Refusal]:
    """What the API server has against creating the object; empty when it takes it."""
    try:
        objects.create(case.kind, case.manifest(), dry_run="All")
    except ApiException as error:
        return server_refusals(error)
    return []


def names(refusal: Refusal, place: str) -> bool:
    """The refusal names the place: as its field (a list's duplicate is blamed on its second item),
    or in its message, where the API server has no field for it (`not`)."""
    return refusal.path.startswith(place) or f'"{place}"' in refusal.message


# --- agreement ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(objects: Objects, case: ApiCase) -> None:
    refusals = refusals_of(objects, case)
    if case.blamed is None:
        assert refusals == []
        return
    blamed = [refusal.message for refusal in refusals if refusal.path == case.blamed]
    assert blamed, refusals
    if case.message is not None:
        assert any(message.endswith(case.message) for message in blamed), blamed


@pytest.mark.parametrize("case", DERIVED, ids=lambda case: case.name)
def test_bound(objects: Objects, case: ApiCase) -> None:
    server = refusals_of(objects, case)
    model = model_refusals(case.kind, case.object_name, case.spec)
    assert bool(server) == bool(model), (server, model)
    if case.blamed is not None:
        assert any(names(refusal, case.blamed) for refusal in server), server


@pytest.mark.parametrize("case", TRANSITIONS, ids=lambda case: case.name)
def test_transition(objects: Objects, case: TransitionCase) -> None:
    existing = objects.create(case.kind, manifest(case.kind, f"edit-{case.name}", case.old))
    edited = existing | {"spec": case.new}
    if case.blamed is None:
        objects.replace(case.kind, edited, dry_run="All")
        return
    with pytest.raises(ApiException) as caught:
        objects.replace(case.kind, edited, dry_run="All")
    (refusal,) = server_refusals(caught.value)
    assert refusal.path == case.blamed
    assert case.message is not None
    assert refusal.message.endswith(case.message)


# --- numbers --------------------------------------------------------------------------------------


def written(field: str, value: str, name: str) -> str:
    """The minimal fine-tune as a YAML file with `section.field: value` in a user's own spelling."""
    section, _, key = field.partition(".")
    text = yaml.safe_dump(manifest(FINE_TUNE, name, FINE_TUNE_MINIMAL))
    assert section not in FINE_TUNE_MINIMAL
    return f"{text.rstrip()}\n  {section}:\n    {key}: {value}\n"


@pytest.mark.parametrize(
    ("field", "value", "stored"),
    [
        ("hyperparameters.learningRate", "2e-4", 0.0002),
        ("hyperparameters.learningRate", "5E-05", 5e-05),
        ("hyperparameters.learningRate", ".0005", 0.0005),
        ("hyperparameters.learningRate", "1", 1),
        ("hyperparameters.learningRate", '"2e-4"', "2e-4"),
        ("hyperparameters.warmupRatio", "0.1", 0.1),
        ("adapter.dropout", "0", 0),
        ("resources.cpu", "8", 8),
        ("resources.cpu", "0.5", 0.5),
        ("resources.cpu", "500m", "500m"),
        ("resources.memory", "68719476736", 68719476736),
        ("resources.memory", "64Gi", "64Gi"),
    ],
)
def test_a_number_is_stored_as_it_was_written(
    control_plane: ControlPlane, field: str, value: str, stored: float | str
) -> None:
    """By kubectl and from YAML, so through the reader that users have; and GitOps sees no diff."""
    name = f"number-{hashlib.sha256(f'{field} {value}'.encode()).hexdigest()[:8]}"
    text = written(field, value, name)

    def apply() -> Body:
        done = control_plane.kubectl("apply", "--server-side", "-o=json", "-f=-", stdin=text)
        assert done.returncode == 0, done.stderr
        body: Body = json.loads(done.stdout)
        return body

    section, _, key = field.partition(".")
    # The API server may write once more after the first apply, whatever is in it.
    bodies = [apply() for _ in range(3)]
    for body in bodies:
        assert json.dumps(body["spec"][section][key]) == json.dumps(stored)
        assert body["metadata"]["generation"] == 1
    assert bodies[1]["metadata"]["resourceVersion"] == bodies[2]["metadata"]["resourceVersion"]
    diff = control_plane.kubectl("diff", "--server-side", "-f", "-", stdin=text)
    assert diff.returncode == 0, diff.stdout


def test_a_number_in_a_list_is_stored_as_it_was_sent(objects: Objects) -> None:
    """Gates, prices and samplings are in lists with keys; the rules over them see numbers too."""
    numbers = {
        "suites[0].generation.temperature": 0.7,
        "suites[0].questions.judge.maxCost": 12.5,
        "suites[0].questions.judge.endpoints[0].promptPrice": 1,
        "gates[0].minimum": 0.6,
        "gates[3].minimumEffect": 0.05,
        "runner.cpu": 1,
    }
    body = manifest(EVAL, "numbers-in-lists", changed(FULL[EVAL.kind], numbers))
    objects.apply(EVAL, body)
    again = [objects.apply(EVAL, body) for _ in range(2)]
    assert again[0]["metadata"] == again[1]["metadata"]
    assert again[1]["metadata"]["generation"] == 1
    for path, value in numbers.items():
        place = again[1]["spec"]
        for step in path_steps(path):
            place = place[step]
        assert json.dumps(place) == json.dumps(value), path


@pytest.mark.parametrize(
    "value",
    ["abc", "5%", "true", "{}", "{a: 1}", "[]", "[1]", "-1", "-2e-4", "1e999", "1e300", "0", '"0"',
     '"1,5"'],
)  # fmt: skip
def test_what_is_no_number_is_refused_with_its_field(
    control_plane: ControlPlane, value: str
) -> None:
    text = written("hyperparameters.learningRate", value, "no-number")
    done = control_plane.kubectl("apply", "-f", "-", stdin=text)
    assert done.returncode != 0, value
    assert "spec.hyperparameters.learningRate" in done.stderr, done.stderr


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_what_json_can_not_say_does_not_leave_kubectl(
    control_plane: ControlPlane, value: str
) -> None:
    text = written("hyperparameters.learningRate", value, "no-json")
    done = control_plane.kubectl("apply", "-f", "-", stdin=text)
    assert done.returncode != 0
    assert "unsupported value" in done.stderr


@pytest.mark.parametrize("literal", ["1e999", "NaN"])
def test_a_literal_beyond_json_is_refused(control_plane: ControlPlane, literal: str) -> None:
    """A client that writes JSON by hand; kubectl sends bodies of `--raw` as they are."""
    body = json.dumps(manifest(FINE_TUNE, "literal", FINE_TUNE_MINIMAL))
    body = body[:-2] + f', "hyperparameters": {{"learningRate": {literal}}}}}}}'
    path = f"/apis/{GROUP}/{VERSION}/namespaces/default/{FINE_TUNE.plural}"
    done = control_plane.kubectl("create", f"--raw={path}", "-f", "-", stdin=body)
    assert done.returncode != 0
    assert literal in done.stderr or "invalid character" in done.stderr, done.stderr


# --- a misspelt field -----------------------------------------------------------------------------


def test_kubectl_refuses_a_misspelt_field(control_plane: ControlPlane) -> None:
    text = yaml.safe_dump(manifest(FINE_TUNE, "misspelt-kubectl", MISSPELT))
    for how in ([], ["--server-side"]):
        result = control_plane.kubectl("apply", *how, "-f", "-", stdin=text)
        assert result.returncode != 0
        assert "spec.hyperparameters.learningrate" in result.stderr
    missing = control_plane.kubectl("get", "q3ft", "misspelt-kubectl")
    assert "NotFound" in missing.stderr


def test_server_side_apply_refuses_a_misspelt_field(objects: Objects) -> None:
    """GitOps tools that use it need no setting: the fields must be in the schema."""
    with pytest.raises(ApiException) as caught:
        objects.apply(FINE_TUNE, manifest(FINE_TUNE, "misspelt-applied", MISSPELT))
    assert ".spec.hyperparameters.learningrate: field not declared in schema" in caught.value.body


def test_plain_post_drops_a_misspelt_field_with_a_warning(control_plane: ControlPlane) -> None:
    """The one way past: a client that neither asks for strictness nor shows warnings."""
    resources = client.CustomObjectsApi(control_plane.api)
    created, status, headers = resources.create_namespaced_custom_object_with_http_info(
        GROUP,
        VERSION,
        "default",
        FINE_TUNE.plural,
        manifest(FINE_TUNE, "misspelt-posted", MISSPELT),
        dry_run="All",
    )
    assert status == 201
    assert "learningrate" not in created["spec"]["hyperparameters"]
    assert created["spec"]["hyperparameters"]["learningRate"] == "2e-4"
    assert 'unknown field \\"spec.hyperparameters.learningrate\\"' in headers["Warning"]


# --- what the API server adds ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_ten_lines_get_every_default(objects: Objects, kind: ResourceKind) -> None:
    example = yaml.safe_load(kind.example)
    assert kind is EVAL or len(kind.example.splitlines()) <= 10
    applied = objects.apply(kind, example)
    assert applied["spec"] == kind.spec.model_validate(example["spec"]).to_wire()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_null_is_the_same_as_absent(objects: Objects, kind: ResourceKind) -> None:
    """Templating tools write nulls."""
    optional = [n for n, f in kind.spec.model_fields.items() if not f.is_required()]
    nulls = {kind.spec.model_fields[name].alias or name: None for name in optional}
    spec = MINIMAL[kind.kind]
    created = objects.create(kind, manifest(kind, "nulls", nulls | spec), dry_run="All")
    assert created["spec"] == kind.spec.model_validate(spec).to_wire()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_new_object_is_not_done_before_the_operator_saw_it(
    objects: Objects, kind: ResourceKind
) -> None:
    """kstatus takes an object without status for a finished one."""
    created = objects.create(kind, manifest(kind, "unseen", MINIMAL[kind.kind]))
    assert created["metadata"]["generation"] == 1
    assert created["status"]["observedGeneration"] == 0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_status_takes_all_that_the_model_can_say(objects: Objects, kind: ResourceKind) -> None:
    body = manifest(kind, "status", FULL[kind.kind])
    objects.create(kind, body)
    status = STATUSES[kind.kind].to_wire()
    applied = objects.apply(
        kind,
        {key: body[key] for key in ("apiVersion", "kind", "metadata")} | {"status": status},
        "status",
    )
    assert applied["status"] == status
    assert applied["metadata"]["generation"] == 1, "a status is no change of the spec"

    row = objects.table(kind, "status")
    assert set(row) == {"Name"} | {column["name"] for column in kind.columns}
    assert [name for name, cell in row.items() if cell in (None, "")] == []
    if kind is FINE_TUNE:
        assert row["Ready"] == "True"
        assert row["Progress"] == "420/1200"
    else:
        assert (row["Completed"], row["Total"], row["Verdict"]) == (80, 80, "Completed")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_spec_can_not_be_written_through_status(objects: Objects, kind: ResourceKind) -> None:
    """And the other way round: a user can't write a status."""
    body = manifest(kind, "two-doors", MINIMAL[kind.kind])
    created = objects.create(kind, body | {"status": {"stage": "Served"}})
    assert "stage" not in created["status"]


def test_names_work_as_documented(control_plane: ControlPlane, objects: Objects) -> None:
    objects.create(FINE_TUNE, manifest(FINE_TUNE, "named", FINE_TUNE_MINIMAL))
    for resource in ("q3ft", "qwen3finetune", "qwen3", "qwen3finetunes.qwen3.dev"):
        listed = control_plane.kubectl("get", resource)
        assert re.search(r"\bnamed +Qwen/Qwen3-8B", listed.stdout), listed
    explained = control_plane.kubectl("explain", "q3ft.spec.hyperparameters.learningRate")
    assert "A number, or a string that holds one." in " ".join(explained.stdout.split())
