"""The evaluation that a fine-tune asks for: one Qwen3Eval per revision, incumbent and question."""

import hashlib
import json
from typing import Any

from qwen3_api.v1alpha1.evaluation import KIND as EVAL_KIND
from qwen3_api.v1alpha1.evaluation import (
    Baseline,
    EvalOutput,
    EvalSpec,
    EvalTarget,
    FineTuneTarget,
    TargetType,
)
from qwen3_api.v1alpha1.finetune import KIND as FINE_TUNE_KIND
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_api.v1alpha1.meta import API_VERSION, MAX_NAME_LENGTH
from qwen3_api.v1alpha1.promotion import BASE, INCUMBENT, EvaluationSpec
from qwen3_operator.resources.labels import LABEL_FINE_TUNE, LABEL_REVISION
from qwen3_operator.resources.pod import build_owner
from qwen3_operator.resources.views import Meta

Manifest = dict[str, Any]
DIGEST = 6


def resolve_evaluation(
    meta: Meta, spec: FineTuneSpec, evaluation: EvaluationSpec, revision: str, incumbent: str | None
) -> EvalSpec:
    """The evaluation of a revision against its base and against what serves.

    Both are named by revision: what serves may change while it runs. A gate against the incumbent
    is left out while there is none.
    """
    baselines = [Baseline(name=BASE, type=TargetType.BASE_MODEL)]
    if incumbent is not None:
        target = FineTuneTarget(name=meta.name, revision=incumbent)
        baselines.append(Baseline(name=INCUMBENT, type=TargetType.FINE_TUNE, fine_tune=target))
    return EvalSpec(
        target=EvalTarget(fine_tune=FineTuneTarget(name=meta.name, revision=revision)),
        baselines=baselines,
        suites=evaluation.suites,
        gates=[g for g in evaluation.gates if incumbent is not None or g.baseline != INCUMBENT],
        holdout=evaluation.holdout,
        runner=evaluation.runner,
        output=EvalOutput(s3=spec.artifacts.s3),
        tracking=spec.tracking,
    )


def evaluation_name(meta: Meta, spec: EvalSpec, revision: str) -> str:
    """Name of the Qwen3Eval: `<fine-tune>-<revision>-<digest>`, the fine-tune's name cut so that it
    fits. The digest is over the whole name and the spec: an edit of suites or gates, or another
    incumbent, is another evaluation, for a Qwen3Eval can't change. Where it is tracked changes no
    verdict, so an edit of that begins with the next evaluation."""
    asked = {name: value for name, value in spec.to_wire().items() if name != "tracking"}
    wire = json.dumps(asked, sort_keys=True)
    digest = hashlib.sha256(f"{meta.uid} {wire}".encode()).hexdigest()[:DIGEST]
    room = MAX_NAME_LENGTH - len(revision) - DIGEST - 2
    return f"{meta.name[:room].rstrip('-')}-{revision}-{digest}"


def build_evaluation(meta: Meta, spec: EvalSpec, revision: str) -> Manifest:
    """The Qwen3Eval, owned by its fine-tune."""
    return {
        "apiVersion": API_VERSION,
        "kind": EVAL_KIND,
        "metadata": {
            "name": evaluation_name(meta, spec, revision),
            "namespace": meta.namespace,
            "labels": {
                "app.kubernetes.io/name": "qwen3-finetune",
                LABEL_FINE_TUNE: meta.name,
                LABEL_REVISION: revision,
            },
            "ownerReferences": [build_owner(FINE_TUNE_KIND, meta.name, meta.uid, API_VERSION)],
        },
        "spec": spec.to_wire(),
    }
