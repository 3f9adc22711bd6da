"""The order and the attempt's id, as the pod gets them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from qwen3_api.job import layout
from qwen3_api.job.base import Document
from qwen3_api.job.train import TrainJob
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason

D = TypeVar("D", bound=Document)


def read_job(path: Path, environ: Mapping[str, str]) -> tuple[TrainJob, str]:
    """The order of a training pod and the attempt's id. Raises FailureError: BadConfig."""
    return read_order(path, TrainJob, environ)


def read_order(path: Path, kind: type[D], environ: Mapping[str, str]) -> tuple[D, str]:
    """An order of any kind and the attempt's id. Raises FailureError: BadConfig."""
    hint = "Operator and trainer image must be of the same release."
    try:
        order = kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        detail = _first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise FailureError(Reason.BAD_CONFIG, f"{path}: {detail}", hint) from error
    pod_uid = environ.get(layout.ENV_POD_UID, "")
    if not pod_uid:
        raise FailureError(Reason.BAD_CONFIG, f"{layout.ENV_POD_UID} is not set", hint)
    return order, pod_uid


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "document"
    return f"{where}: {first['msg']} ({error.error_count()} in all)"
