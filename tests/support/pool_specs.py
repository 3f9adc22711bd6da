"""The pool of the ten-line example."""

from qwen3_api.job.train import HuggingFaceModel
from qwen3_operator.serving.manifests import PoolSpec
from support.operator_world import MODEL, NAMESPACE, build_finetune, storage_of


def build_pool_spec() -> PoolSpec:
    """What a pool of the example is, resolved."""
    return PoolSpec(
        namespace=NAMESPACE,
        name="pool-x",
        base_model=MODEL,
        source=HuggingFaceModel(repo=MODEL),
        storage=storage_of(build_finetune()),
        replicas=1,
        hf_token_secret=None,
    )
