"""Suites of public benchmarks: what the evaluator is told and given, and what status says."""

from typing import Any

from qwen3_api.job.evaluate import EvalComparison, EvalReport, EvalResult
from qwen3_api.v1alpha1.evaluation import EvalSpec
from qwen3_operator.evaluation.status import build_results
from support.evaluation_world import QUESTIONS, build_eval, order_of, plan


def config_map(name: str, key: str) -> dict[str, Any]:
    return {"type": "ConfigMap", "configMap": {"name": name, "key": key}}


SUITES: list[dict[str, Any]] = [
    {"name": "quiz", "questions": QUESTIONS},
    {
        "name": "sums",
        "type": "EvalScope",
        "evalScope": {
            "dataset": "gsm8k",
            "data": config_map("sums", "test.jsonl"),
            "limit": 5,
            "fewShot": 4,
            "examples": config_map("sums", "train.jsonl"),
        },
        "generation": {"thinking": True},
    },
    {
        "name": "aime",
        "type": "EvalScope",
        "evalScope": {
            "dataset": "aime24",
            "data": {"type": "S3", "s3": {"uri": "s3://team-a/aime.jsonl"}},
        },
    },
]


def test_the_order_names_the_benchmark() -> None:
    quiz, sums, aime = order_of(plan(build_eval(suites=SUITES))).suites
    assert quiz.benchmark is None
    assert sums.benchmark is not None
    assert (sums.benchmark.dataset, sums.benchmark.few_shot) == ("gsm8k", 4)
    assert (sums.metrics, sums.limit, sums.thinking, sums.judge) == (["Accuracy"], 5, True, None)
    assert sums.data.type == "File"
    assert sums.data.source == "ConfigMap sums, key test.jsonl"
    assert sums.benchmark.examples is not None
    assert sums.benchmark.examples.type == "File"
    assert sums.benchmark.examples.source == "ConfigMap sums, key train.jsonl"
    assert aime.benchmark is not None
    assert (aime.benchmark.few_shot, aime.benchmark.examples) == (0, None)
    assert aime.data.type == "S3"


def test_questions_and_examples_are_mounted_where_the_order_says() -> None:
    found = plan(build_eval(suites=SUITES))
    sums = order_of(found).suites[1]
    pod = found.apply[1]["spec"]["template"]["spec"]
    mounts = {m["mountPath"]: m["name"] for m in pod["containers"][0]["volumeMounts"]}
    volumes = {v["name"]: v.get("configMap") for v in pod["volumes"]}
    assert len(volumes) == len(pod["volumes"]), "names are unique"
    assert sums.benchmark is not None
    for data, key in ((sums.data, "test.jsonl"), (sums.benchmark.examples, "train.jsonl")):
        assert data is not None
        assert data.type == "File"
        folder, _, name = data.path.rpartition("/")
        mounted = volumes[mounts[folder]]
        assert mounted["name"] == "sums"
        assert mounted["items"] == [{"key": key, "path": name}]


def test_status_has_the_accuracy() -> None:
    spec = EvalSpec.model_validate(
        {"target": {"fineTune": {"name": "bot"}}, "suites": SUITES[1:]},
    )
    report = EvalReport(
        outcome="Completed",
        results=[
            EvalResult(suite="sums", metric="Accuracy", model=m, value=v, samples=5)
            for m, v in (("target", 0.8), ("base", 0.4))
        ],
        comparisons=[
            EvalComparison(
                suite="sums",
                metric="Accuracy",
                baseline="base",
                delta=0.4,
                better=2,
                worse=0,
                samples=5,
            )
        ],
        target_model="m",
        started="2026-01-01T00:00:00Z",
        finished="2026-01-01T00:00:01Z",
    )
    (row,) = build_results(spec, report)
    assert (row.suite, row.metric, row.value, row.baseline, row.delta) == (
        *("sums", "Accuracy", "0.8000", "0.4000", "+0.4000"),
    )
