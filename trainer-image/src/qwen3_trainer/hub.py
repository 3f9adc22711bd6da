"""The Hugging Face hub: what its answers mean, and what of a model it holds. No torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import huggingface_hub
from huggingface_hub import constants, errors

from qwen3_api.job.train import HuggingFaceModel
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.failures import is_disk_full

SECONDS = 30.0
"""How long the hub may take for an answer."""


@contextmanager
def translated(source: HuggingFaceModel) -> Iterator[None]:
    """Raises FailureError for what the hub answers in the block: GatedModel, BaseModelNotFound,
    or TrainerFailed (which is tried again) when it doesn't answer."""
    try:
        yield
    except errors.LocalEntryNotFoundError as error:
        raise _not_cached(source, error) from error
    except errors.HfHubHTTPError as error:
        raise _from_answer(source, error) from error
    except (httpx.HTTPError, OSError) as error:
        if is_disk_full(error):
            raise
        raise _silent(source, error) from error


def describe(source: HuggingFaceModel, files: tuple[str, ...]) -> tuple[Path, frozenset[str]]:
    """Downloads the named files; returns their folder, named after the commit, and the names of
    all files of the model. With a hub that is switched off, both are those of the local cache.

    Raises FailureError as `translated`.
    """
    with translated(source):
        if constants.HF_HUB_OFFLINE:
            folder = Path(huggingface_hub.snapshot_download(source.repo, revision=source.revision))
            return folder, frozenset(p.name for p in folder.iterdir())
        info = huggingface_hub.HfApi().model_info(
            source.repo, revision=source.revision, timeout=SECONDS
        )
        folder = Path(
            huggingface_hub.snapshot_download(
                source.repo, revision=info.sha, allow_patterns=list(files)
            )
        )
        return folder, frozenset(s.rfilename for s in info.siblings or ())


def _name(source: HuggingFaceModel) -> str:
    return source.repo if source.revision is None else f"{source.repo}@{source.revision}"


def _from_answer(source: HuggingFaceModel, error: errors.HfHubHTTPError) -> FailureError:
    name, status = _name(source), error.response.status_code
    if isinstance(error, errors.GatedRepoError):
        return FailureError(
            Reason.GATED_MODEL,
            f"{name} is gated on the hub",
            "Accept its licence on the hub and set baseModel.tokenSecretRef to a token of that "
            "account.",
        )
    if isinstance(error, errors.RevisionNotFoundError) or status == 404:
        return FailureError(
            Reason.BASE_MODEL_NOT_FOUND,
            f"the hub has no {name}",
            "Correct baseModel.name or baseModel.revision.",
        )
    if status in (401, 403):
        # What the hub answers for a private model, and without a token for one that doesn't exist.
        return FailureError(
            Reason.GATED_MODEL,
            f"the hub refuses {name} (HTTP {status}): it wants a token with access, or there is no "
            "such model",
            "Set baseModel.tokenSecretRef to a token with access, or correct baseModel.name.",
        )
    return _silent(source, error)


def _not_cached(source: HuggingFaceModel, error: Exception) -> FailureError:
    if not constants.HF_HUB_OFFLINE:
        return _silent(source, error)
    return FailureError(
        Reason.BASE_MODEL_NOT_FOUND,
        f"{_name(source)} is not in the local cache and the hub is switched off",
        "Ask the platform team to add the model to the catalogue.",
    )


def _silent(source: HuggingFaceModel, error: Exception) -> FailureError:
    return FailureError(
        Reason.TRAINER_FAILED,
        f"cannot download {_name(source)} from the hub: {error}",
        "Check the network policy, or serve the weights from a bucket.",
    )
