"""Questions that training has never seen, and that only the evaluation may read."""

from typing import Annotated

from pydantic import Field

from qwen3_api.v1alpha1.meta import KubeModel, LocalObjectReference, ShortText, StatusModel


class HoldoutSpec(KubeModel):
    """How held-out questions are kept apart from training."""

    max_leaked_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """maxLeakedPercent of a suite's questions may be in the training data; with more nothing is
    asked and the verdict is Error (HoldoutLeaked). Default: any share passes; status reports it.
    """
    secret_ref: LocalObjectReference | None = None
    """secretRef names a Secret of this namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
    that may read the suites' data in S3; the kubelet hands it to the evaluator alone, never to a
    training pod. Default: the credentials of the artifacts."""


class HoldoutStatus(StatusModel):
    """Which questions of a suite are known from training."""

    suite: ShortText
    """suite that was looked at."""
    questions: int
    """questions of it."""
    leaked: int
    """leaked: those whose text, or 70 % of whose 13-grams, are in the training data."""
    training_rows: int
    """trainingRows of the revision."""
    covered_rows: int
    """coveredRows: the first so many of them were compared."""
