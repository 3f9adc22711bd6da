"""The data of an evaluation's suites: what the order says of them and what the pod mounts."""

from qwen3_api.job.evaluate import EvalBenchmark
from qwen3_api.v1alpha1.benchmarks import EvalScopeSuite
from qwen3_api.v1alpha1.suites import Suite
from qwen3_operator.resources.job import MountedData, mounted_data, resolve_data
from qwen3_operator.resources.storage import StorageTarget


def resolve_benchmark(
    number: int, suite: EvalScopeSuite | None, storage: StorageTarget
) -> EvalBenchmark | None:
    """The contract's view of a suite of type EvalScope, the `number`th of the evaluation."""
    if suite is None:
        return None
    examples = suite.examples
    return EvalBenchmark(
        dataset=suite.dataset.value,
        few_shot=suite.few_shot or 0,
        examples=resolve_data(_role(number), examples, storage) if examples is not None else None,
    )


def mounted_suites(suites: list[Suite]) -> list[MountedData]:
    """The ConfigMaps that the suites are read from."""
    found: list[MountedData | None] = []
    for number, suite in enumerate(suites):
        if suite.questions is not None:
            found.append(mounted_data(suite.name, suite.questions.data))
        if suite.eval_scope is not None:
            found.append(mounted_data(suite.name, suite.eval_scope.data))
            found.append(mounted_data(_role(number), suite.eval_scope.examples))
    return [mounted for mounted in found if mounted is not None]


def _role(number: int) -> str:
    """Of a suite's examples. No suite's own data have it: a name can't begin with a hyphen."""
    return f"-examples-{number}"
