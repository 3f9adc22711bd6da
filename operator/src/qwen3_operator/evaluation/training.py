"""Where an evaluation finds the training that its target came out of. Pure."""

from qwen3_api.job.evaluate import EvalTraining
from qwen3_api.v1alpha1.evaluation import EvalSpec
from qwen3_operator.evaluation.target import World
from qwen3_operator.finetune.views import ReadableFineTune, revision_folder
from qwen3_operator.resources.storage import StorageTarget


def resolve_training(
    spec: EvalSpec, revision: str | None, world: World, storage: StorageTarget
) -> EvalTraining | None:
    """The target's revision folder and what its GPU hours cost.

    storage: where the evaluation itself is kept. Its pod has the credentials of that place and no
    others, so a revision that is kept under others is not told of.
    """
    adapter = spec.target.adapter
    target = spec.target.fine_tune or (adapter.fine_tune if adapter else None)
    ft = world.fine_tunes.get(target.name) if target is not None else None
    if not isinstance(ft, ReadableFineTune) or revision is None:
        return None
    own = ft.storage
    if own is None or (own.endpoint, own.secret) != (storage.endpoint, storage.secret):
        return None
    price = ft.price
    return EvalTraining(
        revision=revision,
        folder=revision_folder(ft.meta, revision, own),
        price_per_gpu_hour=float(price.per_hour) if price else None,
        currency=price.currency if price else "",
    )
