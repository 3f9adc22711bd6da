"""The API conventions as tests over the generated CRDs (after jobset's lint)."""

import re
from typing import Any

import pytest

from qwen3_api.kinds import KINDS, ResourceKind, custom_resource_definition, object_schema
from qwen3_api.structural import Schema, is_number_or_string, walk

# A bool can never get a third value. Each of these was looked at with that in mind.
BOOLEANS = {
    "spec.suspend",  # as in batch/v1 Job
    "spec.method.sft.assistantOnlyLoss",  # a switch of TRL
    "spec.adapter.useRSLoRA",  # a switch of PEFT
    "spec.hyperparameters.gradientCheckpointing",  # a switch of transformers
    "spec.suites[].generation.thinking",  # enable_thinking of the chat template
    "spec.suites[].questions.judge.swapPositions",  # a pair is asked in one order or in both
    "spec.evaluation.suites[].generation.thinking",
    "spec.evaluation.suites[].questions.judge.swapPositions",
    "spec.suites[].questions.weave.fields[].required",  # as in a JSON schema or a pydantic model
    "spec.evaluation.suites[].questions.weave.fields[].required",
    "spec.checkpoint.loadBest",  # load_best_model_at_end of transformers
    "spec.dataset.checks.failOnLeakage",
    "spec.failurePolicy.allowQuantization",
    "status.preflight.sizing.gradientCheckpointing",
    "status.preflight.sizing.paddingFree",  # a switch of TRL
    "status.preflight.sizing.quantized",
    "status.revisions[].quantized",
    "status.training.sizing.gradientCheckpointing",
    "status.training.sizing.paddingFree",
    "status.training.sizing.quantized",
    "status.failure.retriable",
}

# Lists that are replaced as a whole: their items have no key of their own.
ATOMIC_LISTS = {
    "status.preflight.warnings",  # sentences
    "status.training.adaptations",  # a log: the same line may come twice
    "spec.resources.tolerations",  # as in core/v1 PodSpec
    "spec.serving.rollout.canarySteps",  # a sequence: two steps may be alike
    "status.history",  # a log; a revision may come and go more than once
    "status.tracking.evaluations",  # keyed by suite and model
    "status.results",  # keyed by suite, metric and an optional baseline
}

pytestmark = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)


def nodes(kind: ResourceKind) -> dict[str, Schema]:
    """Every node of spec and status by path."""
    found: dict[str, Schema] = {}
    for part in ("spec", "status"):
        walk(object_schema(kind)["properties"][part], part, found.__setitem__)
    return found


def fields(kind: ResourceKind) -> dict[str, Schema]:
    """The nodes that are fields of an object."""
    return {path: node for path, node in nodes(kind).items() if not path.endswith(("[]", "{}"))}


def test_no_phase_and_no_state(kind: ResourceKind) -> None:
    names = {path.rpartition(".")[2].lower() for path in fields(kind)}
    assert not names & {"phase", "state"}


def test_only_known_types(kind: ResourceKind) -> None:
    types = {node.get("type") for node in nodes(kind).values() if not is_number_or_string(node)}
    assert types <= {"object", "array", "string", "integer", "boolean"}


def test_what_has_no_type_is_a_number_or_a_string(kind: ResourceKind) -> None:
    """Such a node takes anything that isn't refused: every kind of JSON value must have a word."""
    for path, node in nodes(kind).items():
        if not is_number_or_string(node):
            continue
        assert path.startswith("spec."), path  # nothing of ours is written so
        assert node["x-kubernetes-preserve-unknown-fields"] is True, path
        assert node["not"] == {"enum": [True, False]}, path
        assert (node["minProperties"], node["maxProperties"]) == (1, 0), path
        assert (node["minItems"], node["maxItems"]) == (1, 0), path
        assert node["minimum"] == 0, path
        assert {"maximum", "pattern", "maxLength"} <= node.keys(), path


def test_rules_reach_numbers_through_dyn(kind: ResourceKind) -> None:
    """CEL doesn't declare a field without a type: without `dyn` the API server refuses the CRD."""
    numbers = {path.rpartition(".")[2] for path, n in nodes(kind).items() if is_number_or_string(n)}
    owners = [
        (owner, rule["rule"])
        for node in nodes(kind).values()
        for rule in node.get("x-kubernetes-validations", ())
        for owner, name in re.findall(r"(\S+)\.(\w+)", rule["rule"])
        if name in numbers
    ]
    assert owners, "the rules of a gate name its four numbers"
    assert [rule for owner, rule in owners if not re.search(r"dyn\(\w+\)$", owner)] == []


def test_everything_has_a_size(kind: ResourceKind) -> None:
    def unbounded(node: Schema) -> bool:
        match node.get("type"):
            case None:
                return "maxLength" not in node
            case "string":
                return not {"maxLength", "enum"} & node.keys()
            case "array":
                return "maxItems" not in node
            case _:
                return "additionalProperties" in node and "maxProperties" not in node

    assert [path for path, node in nodes(kind).items() if unbounded(node)] == []


def test_numbers_of_the_spec_are_bounded(kind: ResourceKind) -> None:
    unbounded = [
        path
        for path, node in nodes(kind).items()
        if path.startswith("spec")
        and (is_number_or_string(node) or node["type"] == "integer")
        and not ({"minimum", "maximum"} <= node.keys() or "enum" in node)
    ]
    assert unbounded == []


def test_docs_start_with_the_name(kind: ResourceKind) -> None:
    wrong = {
        path: node.get("description")
        for path, node in fields(kind).items()
        if not re.match(rf"{path.rpartition('.')[2]}\b", node.get("description", ""))
    }
    assert wrong == {}


def test_docs_are_sentences(kind: ResourceKind) -> None:
    descriptions = [node.get("description", "") for node in fields(kind).values()]
    assert [text for text in descriptions if not text.rstrip(")").endswith(".")] == []


def test_booleans_are_reviewed(kind: ResourceKind) -> None:
    found = {path for path, node in nodes(kind).items() if node.get("type") == "boolean"}
    assert found <= BOOLEANS


def test_list_types(kind: ResourceKind) -> None:
    for path, node in nodes(kind).items():
        if node.get("type") != "array":
            continue
        item = node["items"]
        expected = "set" if item["type"] == "string" else "map"
        assert node["x-kubernetes-list-type"] == ("atomic" if path in ATOMIC_LISTS else expected), (
            path
        )
        for key in node.get("x-kubernetes-list-map-keys", ()):
            assert key in item["required"], path


def test_names_are_camel_case_with_acronyms_in_capitals(kind: ResourceKind) -> None:
    wrong = [
        path
        for path in fields(kind)
        if not re.fullmatch(r"[a-z][a-zA-Z0-9]*", name := path.rpartition(".")[2])
        or re.search(r"(Id|Uri|Url|Gpu|Ttl|Api)(?![a-z])", name)
    ]
    assert wrong == []


def test_enum_values_are_pascal_case(kind: ResourceKind) -> None:
    """PEFT's module names, llama.cpp's types and EvalScope's benchmarks are somebody else's."""
    wrong = [
        (path, value)
        for path, node in nodes(kind).items()
        if path not in ("spec.adapter.targetModules[]", "spec.export.gguf[]")
        and not path.endswith(".evalScope.dataset")
        for value in node.get("enum", ())
        if isinstance(value, str) and not re.fullmatch(r"[A-Z][A-Za-z0-9]*", value)
    ]
    assert wrong == []


def test_unions_have_a_discriminator(kind: ResourceKind) -> None:
    """A member of a union is named like a value of `type` and bound to it by a rule."""
    for path, node in nodes(kind).items():
        members = {
            name
            for value in node.get("properties", {}).get("type", {}).get("enum", ())
            if (name := value[0].lower() + value[1:]) in node["properties"]
            or (name := value.lower()) in node["properties"]
        }
        optional = members - set(node.get("required", ()))
        rules = " ".join(rule["rule"] for rule in node.get("x-kubernetes-validations", ()))
        unbound = {name for name in optional if f"has(self.{name})" not in rules}
        assert unbound == set(), path


def test_every_rule_names_its_field(kind: ResourceKind) -> None:
    def rules(node: Schema) -> list[dict[str, str]]:
        found: list[dict[str, str]] = node.get("x-kubernetes-validations", [])
        return found

    everything = [object_schema(kind), *nodes(kind).values()]
    for rule in (rule for node in everything for rule in rules(node)):
        name = rule["fieldPath"].rpartition(".")[2]
        assert name in rule["message"], rule
        assert "\n" not in rule["message"]


def test_every_rule_is_about_fields_that_exist(kind: ResourceKind) -> None:
    for path, node in nodes(kind).items():
        for rule in node.get("x-kubernetes-validations", ()):
            place: Any = node
            for step in rule["fieldPath"].removeprefix(".").split("."):
                assert step in place["properties"], f"{path}: {rule['fieldPath']}"
                place = place["properties"][step]


def test_status_says_what_it_speaks_of(kind: ResourceKind) -> None:
    found = fields(kind)
    assert found["status.observedGeneration"]["default"] == 0
    assert found["status.conditions"]["x-kubernetes-list-map-keys"] == ["type"]
    condition = nodes(kind)["status.conditions[]"]
    assert set(condition["required"]) == {"type", "status", "lastTransitionTime", "reason"}


def test_definition(kind: ResourceKind) -> None:
    crd = custom_resource_definition(kind)
    assert crd["metadata"]["name"] == f"{crd['spec']['names']['plural']}.{crd['spec']['group']}"
    assert crd["spec"]["names"]["categories"] == ["qwen3"]
    (version,) = crd["spec"]["versions"]
    assert version["subresources"] == {"status": {}}
    for column in version["additionalPrinterColumns"]:
        assert column["jsonPath"].startswith((".spec.", ".status.", ".metadata."))


def test_columns_show_fields_that_exist(kind: ResourceKind) -> None:
    found = fields(kind) | nodes(kind)
    for column in kind.columns:
        path = re.sub(r"\[\?\(@\.type=='Ready'\)\]", "[]", column["jsonPath"].removeprefix("."))
        if not path.startswith("metadata."):
            assert path in found, column


def test_columns_have_the_type_of_their_field(kind: ResourceKind) -> None:
    """kubectl leaves a cell empty whose value isn't of the column's type."""
    found = fields(kind)
    for column in kind.columns:
        node = found.get(column["jsonPath"].removeprefix("."))
        if node is not None:
            assert column["type"] == node.get("type"), column


def test_a_run_is_followed_in_the_wide_view_only(kind: ResourceKind) -> None:
    """What stands beside Loss and ETA for whoever asks for it; 80 columns for whoever doesn't."""
    shown = {c["name"]: c.get("priority", 0) for c in kind.columns}
    if kind.kind == "Qwen3FineTune":
        wide = ("Eval loss", "Tokens/s", "GPU MiB", "Tracking")
        assert [shown[name] for name in wide] == [1, 1, 1, 1]
    assert sum(1 for priority in shown.values() if priority == 0) <= 9
