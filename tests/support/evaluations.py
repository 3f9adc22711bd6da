"""Orders and samples of evaluations, for tests of what becomes of them."""

from typing import Any

from qwen3_api.job.evaluate import EvalGate, EvalJob, EvalSample


def build_job(
    *metrics: str, baselines: tuple[str, ...] = ("base",), gates: list[EvalGate], **suite: Any
) -> EvalJob:
    """An order with a suite called one."""
    endpoints = [
        {"name": name, "base_url": "http://p/v1", "model": f"m/{name}"}
        for name in ("target", *baselines)
    ]
    questions = {
        "name": "one",
        "data": {"type": "File", "path": "/q", "source": "q"},
        "metrics": metrics or ("ExactMatch",),
        "limit": None,
        "max_tokens": 8,
        "temperature": 0,
        "thinking": False,
        "seed": 1,
    }
    return EvalJob.model_validate(
        {
            "namespace": "a",
            "name": "e",
            "uid": "u",
            "target": endpoints[0],
            "baselines": endpoints[1:],
            "suites": [questions | suite],
            "gates": gates,
            "concurrency": 1,
            "output": {"endpoint": None, "region": None, "bucket": "b", "prefix": "p"},
        }
    )


def build_gate(**fields: Any) -> EvalGate:
    """A gate on ExactMatch of suite one at 95 %."""
    return EvalGate.model_validate(
        {
            "name": "g",
            "suite": "one",
            "metric": "ExactMatch",
            "baseline": None,
            "confidence": 0.95,
        }
        | fields
    )


def build_sample(model: str, line: int, **fields: Any) -> EvalSample:
    """An answer of suite one."""
    return EvalSample.model_validate(
        {
            "suite": "one",
            "model": model,
            "line": line,
            "category": None,
            "question": "q",
            "expected": "a",
            "answer": "a",
            "loss": None,
            "answer_tokens": None,
        }
        | fields
    )
