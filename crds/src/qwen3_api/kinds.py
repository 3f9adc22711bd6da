"""The custom resources as a whole: names, schemas and their CustomResourceDefinitions. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qwen3_api.structural import structural_schema, validation
from qwen3_api.v1alpha1 import evaluation, finetune
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus
from qwen3_api.v1alpha1.meta import GROUP, NAME_RULES, VERSION, KubeModel, StatusModel


@dataclass(frozen=True)
class ResourceKind:
    """One custom resource.

    doc: what an object of this kind is, for `kubectl explain`.
    example: the shortest useful object, as in the reference.
    """

    kind: str
    plural: str
    short_name: str
    doc: str
    spec: type[KubeModel]
    status: type[StatusModel]
    columns: tuple[Mapping[str, Any], ...]
    example: str

    @property
    def crd_name(self) -> str:
        return f"{self.plural}.{GROUP}"

    @property
    def singular(self) -> str:
        return self.kind.lower()


FINE_TUNE = ResourceKind(
    kind=finetune.KIND,
    plural=finetune.PLURAL,
    short_name="q3ft",
    doc="A LoRA adapter of a Qwen3 base model, from a dataset to a served public name.",
    spec=finetune.FineTuneSpec,
    status=FineTuneStatus,
    columns=finetune.PRINTER_COLUMNS,
    example="""\
apiVersion: qwen3.dev/v1alpha1
kind: Qwen3FineTune
metadata:
  name: support-bot
spec:
  baseModel: {name: Qwen/Qwen3-8B}
  dataset:
    train: {type: S3, s3: {uri: s3://team-a/support.jsonl}}
  serving: {mode: SharedBase}
""",
)

EVAL = ResourceKind(
    kind=evaluation.KIND,
    plural=evaluation.PLURAL,
    short_name="q3ev",
    doc="An evaluation of served models. It can't be changed once applied, like a Job.",
    spec=evaluation.EvalSpec,
    status=evaluation.EvalStatus,
    columns=evaluation.PRINTER_COLUMNS,
    example="""\
apiVersion: qwen3.dev/v1alpha1
kind: Qwen3Eval
metadata:
  name: support-bot-exam
spec:
  target:
    fineTune: {name: support-bot}
  suites:
    - name: held-out
      questions:
        data: {type: ConfigMap, configMap: {name: exam, key: questions.jsonl}}
""",
)

KINDS: tuple[ResourceKind, ...] = (FINE_TUNE, EVAL)

_API_VERSION_DOC = "apiVersion is the version of the schema of this object."
_KIND_DOC = "kind is the type of this object."


def object_schema(kind: ResourceKind) -> dict[str, Any]:
    """The structural schema of a whole object."""
    spec, status = structural_schema(kind.spec), structural_schema(kind.status)
    spec["description"] = "spec is the desired state."
    status["description"] = "status is the observed state, written only by the operator."
    # A fresh object has observedGeneration 0 even while the operator is down: tools that follow
    # kstatus (Flux, Argo CD) then wait, where a missing status would count as done.
    status["default"] = {}
    return {
        "description": kind.doc,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": _API_VERSION_DOC, "type": "string"},
            "kind": {"description": _KIND_DOC, "type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": spec,
            "status": status,
        },
        "x-kubernetes-validations": [validation(rule) for rule in NAME_RULES],
    }


def custom_resource_definition(kind: ResourceKind) -> dict[str, Any]:
    """The apiextensions.k8s.io/v1 CustomResourceDefinition of a kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short_name],
                "categories": ["qwen3"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [dict(column) for column in kind.columns],
                    "schema": {"openAPIV3Schema": object_schema(kind)},
                }
            ],
        },
    }
