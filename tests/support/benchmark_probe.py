"""Loads and scores suites of benchmarks as the evaluator does. Run by the evaluator image's Python.

Reads `{"suites": [EvalSuite, …], "answers": {suite: [[line, text], …]}}` from standard input and
writes a list, per suite: `{"questions": […], "scores": […]}`, or `{"error": …}`.
"""

import asyncio
import json
import sys
from dataclasses import asdict
from typing import Any

from qwen3_api.job.evaluate import EvalSample, EvalSuite
from qwen3_api.pod.failure import FailureError
from qwen3_evaluator.benchmarks import EvalScope
from qwen3_evaluator.store import Store


async def probe(
    suite: EvalSuite, answers: list[tuple[int, str]], evalscope: EvalScope, store: Store
) -> dict[str, Any]:
    try:
        found = await evalscope.load(suite, store)
        scores = []
        for line, text in answers:
            sample = EvalSample(
                suite=suite.name,
                model="target",
                line=line,
                category=None,
                question="",
                expected="",
                answer=text,
                loss=None,
                answer_tokens=None,
            )
            scores.append((await evalscope.score(suite, sample)).scores["Accuracy"])
    except FailureError as error:
        return {"error": error.failure.message, "reason": error.failure.reason}
    return {"questions": [asdict(question) for question in found.questions], "scores": scores}


async def main() -> None:
    order = json.load(sys.stdin)
    async with Store() as store, EvalScope() as evalscope:
        suites = [EvalSuite.model_validate(each) for each in order["suites"]]
        found = [await probe(s, order["answers"].get(s.name, []), evalscope, store) for s in suites]
    # The evaluator itself is free of it, even now.
    assert "evalscope" not in sys.modules
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
