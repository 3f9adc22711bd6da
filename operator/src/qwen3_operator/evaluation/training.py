"""Where an evaluation finds the training that its target came out of. Pure."""

from qwen3_api.job import layout
from qwen3_api.job.evaluate import EvalTraining
from qwen3_api.v1alpha1.evaluation import EvalSpec
from qwen3_operator.evaluation.target import World
from qwen3_operator.finetune.gpu import resolve_price
from qwen3_operator.resources.storage import StorageTarget, resolve_storage


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
    if ft is None or ft.spec is None or revision is None:
        return None
    own = resolve_storage(ft.spec.artifacts.s3, world.settings)
    if own is None or (own.endpoint, own.secret) != (storage.endpoint, storage.secret):
        return None
    price = resolve_price(ft.spec, world.settings)
    return EvalTraining(
        revision=revision,
        folder=own.location(
            layout.revision_prefix(own.prefix, ft.meta.namespace, ft.meta.uid, revision)
        ),
        price_per_gpu_hour=float(price.per_hour) if price else None,
        currency=price.currency if price else "",
    )
