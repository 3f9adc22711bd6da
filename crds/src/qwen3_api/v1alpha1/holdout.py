"""Held-out questions: not in the training data, readable only by the evaluation."""

from typing import Annotated

from pydantic import Field

from qwen3_api.v1alpha1.meta import KubeModel, LocalObjectReference, ShortText, StatusModel


class HoldoutSpec(KubeModel):
    """Separation of held-out questions from training."""

    max_leaked_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """maxLeakedPercent is the maximum share of a suite's questions that may occur in the training
    data; with more, the evaluation doesn't start and the verdict is Error (HoldoutLeaked). Default:
    no limit; status reports the share."""
    secret_ref: LocalObjectReference | None = None
    """secretRef names a Secret of this namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
    that may read the suites' data in S3; the kubelet passes it only to the evaluator, never to a
    training pod. Default: the credentials of the artifacts."""


class HoldoutStatus(StatusModel):
    """Leaked questions of a suite."""

    suite: ShortText
    """suite that was compared."""
    questions: int
    """questions in the suite."""
    leaked: int
    """leaked: those whose text, or 70 % of whose 13-grams, are in the training data."""
    training_rows: int
    """trainingRows of the revision."""
    covered_rows: int
    """coveredRows is the number of training rows compared, from the start."""
