"""Weights from the hub. A process of its own, without torch: the hub's library downloads with
threads and native code that no signal interrupts, a process can be killed.
"""

import huggingface_hub
from huggingface_hub import errors

from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.failures import TrainerError
from qwen3_trainer.worker.channel import Channel
from qwen3_trainer.worker.messages import Downloaded, DownloadPlan


def download(plan: DownloadPlan, channel: Channel) -> None:
    """Downloads, or finds in the cache. Raises TrainerError: BaseModelNotFound, or TrainerFailed
    when the hub doesn't answer."""
    source = plan.source
    name = source.repo if source.revision is None else f"{source.repo}@{source.revision}"
    try:
        folder = huggingface_hub.snapshot_download(
            source.repo, revision=source.revision, allow_patterns=plan.patterns
        )
    except errors.GatedRepoError as error:
        raise _not_found(
            f"{name} is gated on the hub", "Set baseModel.tokenSecretRef to a token with access."
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise _not_found(
            f"the hub has no {name}", "Correct baseModel.name or baseModel.revision."
        ) from error
    except errors.LocalEntryNotFoundError as error:
        if huggingface_hub.constants.HF_HUB_OFFLINE:
            raise _not_found(
                f"{name} is not in the local cache and the hub is switched off",
                "Ask the platform team to add the model to the catalogue.",
            ) from error
        raise _silent(name, error) from error
    except errors.HfHubHTTPError as error:
        raise _silent(name, error) from error
    channel.send(Downloaded(folder=folder))


def _not_found(message: str, hint: str) -> TrainerError:
    return TrainerError(Reason.BASE_MODEL_NOT_FOUND, message, hint)


def _silent(name: str, error: Exception) -> TrainerError:
    return TrainerError(
        Reason.TRAINER_FAILED,
        f"cannot download {name} from the hub: {error}",
        "Check the network policy, or serve the weights from a bucket.",
    )
