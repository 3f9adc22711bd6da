"""Suites of public benchmarks with the evaluator image's Python, a real vLLM and a real store.

Needs QWEN3_EVALUATOR_PYTHON, QWEN3_VLLM_PYTHON and QWEN3_ML_PYTHON. EvalScope's own `run_task`,
which asks the same server, tells what is right.
"""

import asyncio
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job.base import S3Location
from qwen3_api.job.evaluate import EvalJob, EvalReport, EvalSample
from qwen3_evaluator.report.documents import parse_samples
from qwen3_evaluator.store import Store
from support import evaluator_runs
from support.benchmark_rows import Row, run_script, to_jsonl
from support.evaluator_runs import finish, read_partials, wait_for_partials
from support.evaluator_servers import NAMESPACE, TENANT, counting_proxy, seaweedfs, vllm

pytestmark = pytest.mark.integration

ADAPTER = "team-a.bot.12345678"
MODELS = {"target": ADAPTER, "base": "tiny/base"}
SUPPORT = Path(__file__).parents[1] / "support"
TEMPLATE = Path(__file__).parents[2] / "local/tiny-model/tiny_qwen3/qwen3.jinja"
MAX_TOKENS, SEED = 32, 3407


WORDS = (
    "ANSWER: A\n",
    "ANSWER: B\n",
    "ANSWER: C\n",
    "答案：A\n",
    "答案：B\n",
    "答案：C\n",
    "\\boxed{3}",
)
"""What the random model babbles, so that some of its answers are right."""


@dataclass(frozen=True)
class Shape:
    """A small file of a benchmark's shape, and how EvalScope's own loader names it."""

    dataset: str
    file: str
    """<subset>_<split>.jsonl"""
    rows: list[Row]
    few_shot: int = 0
    thinking: bool = False
    examples: list[Row] = field(default_factory=list)
    examples_file: str = ""

    @property
    def name(self) -> str:
        return self.dataset.replace("_", "-")


SHAPES = [
    Shape(
        "gsm8k",
        "main_test.jsonl",
        [
            {"question": f"Tom has {n} pears, eats {n - 3}.", "answer": f"#### {3 + n % 2}"}
            for n in range(11, 17)
        ],
        few_shot=1,
        examples=[{"question": "1 + 1?", "answer": "Two.\n#### 2"}],
        examples_file="main_train.jsonl",
    ),
    Shape(
        "mmlu",
        "all_test.jsonl",
        [
            {
                "question": f"What is {n} + 1?",
                "choices": [str(n), str(n + 1), str(n + 2), str(n + 3)],
                "answer": n % 3,
                "subject": "anatomy",
            }
            for n in range(11, 17)
        ],
    ),
    Shape(
        "ceval",
        "law_val.jsonl",
        [
            {"question": f"{n}+1=?", "A": "1", "B": f"{n + 1}", "C": "3", "D": "4"}
            | {"answer": "ABC"[n % 3], "subject": "law"}
            for n in range(11, 17)
        ],
    ),
    Shape(
        "aime24",
        "default_test.jsonl",
        [{"problem": f"Find ${n} - {n - 3}$.", "answer": "3"} for n in range(11, 17)],
        thinking=True,
    ),
]


@dataclass(frozen=True)
class World:
    """The servers, and what EvalScope's run_task makes of the same rows."""

    bucket: S3Location
    vllm_url: str
    right: dict[str, dict[str, Any]]
    """By dataset and model: score and samples."""


def ask_evalscope(folder: Path, url: str) -> dict[str, dict[str, Any]]:
    suites = []
    for shape in SHAPES:
        place = folder / shape.name
        place.mkdir()
        (place / shape.file).write_bytes(to_jsonl(shape.rows))
        if shape.examples:
            (place / shape.examples_file).write_bytes(to_jsonl(shape.examples))
        suites.append(
            {
                "dataset": shape.dataset,
                "folder": str(place),
                "subset": "anatomy" if shape.dataset == "mmlu" else shape.file.partition("_")[0],
                "few_shot": shape.few_shot,
                "thinking": shape.thinking,
            }
        )
    order = {"url": url, "models": [*MODELS.values()], "max_tokens": MAX_TOKENS, "seed": SEED}
    found = run_script("evalscope_reference.py", order | {"suites": suites})
    return {shape.dataset: each for shape, each in zip(SHAPES, found, strict=True)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("model") / "m"
    build = [str(SUPPORT / "evaluator_reference.py"), "build", str(folder), str(TEMPLATE), *WORDS]
    subprocess.run([os.environ["QWEN3_ML_PYTHON"], *build], check=True)
    with (
        seaweedfs(tmp_path_factory.mktemp("weed")) as bucket,
        vllm(os.environ["QWEN3_VLLM_PYTHON"], folder, ADAPTER) as vllm_url,
    ):
        right = ask_evalscope(tmp_path_factory.mktemp("benchmarks"), vllm_url)
        yield World(bucket.tenant, vllm_url, right)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", TENANT.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", TENANT.secret_key)


async def make_job(world: World, name: str, url: str) -> EvalJob:
    """Upload the files and order all four benchmarks of adapter and base."""
    suites = []
    async with Store() as store:
        for shape in SHAPES:
            data, examples = (world.bucket.join(name, f"{shape.name}{x}.jsonl") for x in ("", "-e"))
            await store.put(data, to_jsonl(shape.rows), "application/jsonl")
            await store.put(examples, to_jsonl(shape.examples), "application/jsonl")
            source = {"type": "S3", "location": examples.model_dump()}
            suites.append(
                {
                    "name": shape.name,
                    "data": {"type": "S3", "location": data.model_dump()},
                    "benchmark": {
                        "dataset": shape.dataset,
                        "few_shot": shape.few_shot,
                        "examples": source if shape.few_shot else None,
                    },
                    "metrics": ["Accuracy"],
                    "limit": None,
                    "max_tokens": MAX_TOKENS,
                    "temperature": 0,
                    "thinking": shape.thinking,
                    "seed": SEED,
                }
            )
    endpoints = [{"name": n, "base_url": url, "model": m} for n, m in MODELS.items()]
    return EvalJob.model_validate(
        {
            "namespace": NAMESPACE,
            "name": name,
            "uid": name,
            "target": endpoints[0],
            "baselines": endpoints[1:],
            "suites": suites,
            "gates": [
                {
                    "name": "sums",
                    "suite": "gsm8k",
                    "metric": "Accuracy",
                    "baseline": "base",
                    "max_regression": 0.9,
                    "confidence": 0.9,
                }
            ],
            "concurrency": 4,
            "output": world.bucket.join("evals", name).model_dump(),
            "progress_seconds": 1,
        }
    )


async def start(job: EvalJob, folder: Path) -> asyncio.subprocess.Process:
    """The program in the image's file system."""
    return await evaluator_runs.start(job, folder, os.environ["QWEN3_EVALUATOR_PYTHON"])


async def read(job: EvalJob, name: str) -> bytes | None:
    async with Store() as store:
        return await store.get(job.output.join(name))


def check_against_evalscope(world: World, samples: list[EvalSample]) -> None:
    """Each prompt, answer and score is what run_task says."""
    assert len(samples) == sum(len(shape.rows) for shape in SHAPES) * len(MODELS)
    for sample in samples:
        shape = next(s for s in SHAPES if s.name == sample.suite)
        theirs = world.right[shape.dataset][MODELS[sample.model]]["samples"]
        assert sample.question in theirs
        assert sample.answer == theirs[sample.question]["answer"]
        assert sample.scores == {"Accuracy": theirs[sample.question]["score"]}


async def test_scores_are_those_of_run_task(world: World, tmp_path: Path) -> None:
    async with counting_proxy(world.vllm_url) as proxy:
        job = await make_job(world, "numbers", proxy.url)
        code, log = await finish(await start(job, tmp_path))
    assert code == 0, log
    samples = parse_samples(await read(job, "samples.jsonl") or b"")
    check_against_evalscope(world, samples)
    assert len(proxy.requests) == len(samples), "an answer is one request"

    report = EvalReport.model_validate_json(await read(job, "report.json") or b"")
    values = {(r.suite, r.model): (r.value, r.samples) for r in report.results}
    for shape in SHAPES:
        for name, model in MODELS.items():
            score = world.right[shape.dataset][model]["score"]
            assert values[shape.name, name] == (pytest.approx(score, abs=1e-4), 6)
    assert {s.scores["Accuracy"] for s in samples} == {0.0, 1.0}, "some are right, some wrong"
    assert {c.suite for c in report.comparisons} == {shape.name for shape in SHAPES}
    assert [g.name for g in report.gates] == ["sums"]
    assert report.versions["evalscope"] == "1.14.1"
    assert {"gsm8k", "gsm8k.examples", "mmlu"} <= report.data_sha256.keys()

    # Thinking is on for AIME alone. The model never ends it, so there is no answer to score.
    asked = Counter(
        (body["chat_template_kwargs"]["enable_thinking"], "Find $" in str(body["messages"]))
        for body in proxy.requests
    )
    assert asked == {(True, True): 12, (False, False): 36}
    thought = [s for s in samples if s.suite == "aime24"]
    assert [(s.answer, s.scores["Accuracy"]) for s in thought] == [("", 0.0)] * 12
    assert all(s.reasoning for s in thought)
    assert not any(s.reasoning for s in samples if s.suite != "aime24")
    assert b"gsm8k" in (await read(job, "report.html") or b"")


async def test_a_killed_attempt_is_gone_on_with(world: World, tmp_path: Path) -> None:
    async with counting_proxy(world.vllm_url) as proxy:
        proxy.hold(after=20, count=4)
        job = await make_job(world, "killed", proxy.url)
        program = await start(job, tmp_path)
        await asyncio.wait_for(proxy.full.wait(), 240)  # all 4 workers wait for their answers
        await wait_for_partials(job, 20)
        program.send_signal(signal.SIGKILL)
        assert (await finish(program))[0] == -signal.SIGKILL
        kept = await read_partials(job)
        assert len(kept) == 20

        proxy.requests.clear()
        proxy.release()
        code, log = await finish(await start(job, tmp_path))
    assert code == 0, log
    samples = parse_samples(await read(job, "samples.jsonl") or b"")
    check_against_evalscope(world, samples)
    asked = Counter((b["model"], b["messages"][-1]["content"]) for b in proxy.requests)
    assert asked.total() == len(samples) - len(kept)
    assert not [s for s in kept if (MODELS[s.model], s.question) in asked]
