"""Suites of type EvalScope: public benchmarks on data that the user brings."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from qwen3_api.data_sources import DatasetSource
from qwen3_api.v1alpha1.meta import KubeModel, Rule


class Benchmark(StrEnum):
    """EvalScope's names of the benchmarks that a row at a time is enough for: one prompt, one
    answer, right or wrong without a judge. Each is proven with rows of its shape."""

    AIME24 = "aime24"
    AIME25 = "aime25"
    AIME26 = "aime26"
    ARC = "arc"
    CEVAL = "ceval"
    CMATH = "cmath"
    CMMLU = "cmmlu"
    COMMONSENSE_QA = "commonsense_qa"
    GENERAL_MCQ = "general_mcq"
    GPQA_DIAMOND = "gpqa_diamond"
    GSM8K = "gsm8k"
    MATH_500 = "math_500"
    MMLU = "mmlu"
    MMLU_PRO = "mmlu_pro"
    MMLU_REDUX = "mmlu_redux"


FEW_SHOT = (
    Benchmark.ARC,
    Benchmark.CEVAL,
    Benchmark.CMMLU,
    Benchmark.GENERAL_MCQ,
    Benchmark.GSM8K,
    Benchmark.MMLU,
    Benchmark.MMLU_PRO,
)
"""Those that EvalScope asks with worked examples from a file; the others are asked without."""


class EvalScopeSuite(KubeModel):
    """One public benchmark. EvalScope makes the prompts and scores the answers; nothing is
    downloaded."""

    dataset: Benchmark
    """dataset: EvalScope's name of the benchmark, gsm8k or mmlu or ceval or aime24 and so on."""
    data: DatasetSource
    """data: JSONL rows as the benchmark is published; ceval needs a field subject in each."""
    limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """limit to the first rows."""
    few_shot: Annotated[int, Field(ge=1, le=32)] | None = None
    """fewShot: worked examples in each prompt, the first of the question's subject; default: none.
    """
    examples: DatasetSource | None = None
    """examples: JSONL rows of the same shape that fewShot takes; the benchmark's train or dev
    split, never the questions themselves."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.fewShot) == has(self.examples)",
            message="examples goes with fewShot, and only with it",
            check=lambda m: (m.few_shot is None) == (m.examples is None),
            field_path=".examples",
        ),
        Rule(
            cel=f"!has(self.fewShot) || self.dataset in {[b.value for b in FEW_SHOT]}",
            message="fewShot goes with "
            f"{', '.join(b.value for b in FEW_SHOT)}: the others are asked without examples",
            check=lambda m: m.few_shot is None or m.dataset in FEW_SHOT,
            field_path=".fewShot",
        ),
    )
