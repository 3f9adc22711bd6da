"""A report holds whatever an evaluation may ask for: too long a list would cost all its answers."""

import pytest

from qwen3_api.job.evaluate import EvalReport
from qwen3_api.metrics import Metric
from qwen3_api.v1alpha1.evaluation import EvalSpec


@pytest.mark.parametrize(("field", "sides"), [("results", 1), ("comparisons", 0)])
def test_every_metric_of_every_suite_and_model_has_a_place(field: str, sides: int) -> None:
    """`sides`: results has the target besides the baselines."""
    spec = EvalSpec.model_json_schema()["properties"]
    report = EvalReport.model_json_schema()["properties"]
    asked = spec["suites"]["maxItems"] * len(Metric) * (spec["baselines"]["maxItems"] + sides)
    assert report[field]["maxItems"] >= asked
