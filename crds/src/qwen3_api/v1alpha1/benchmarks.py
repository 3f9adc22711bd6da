"""Suites of type EvalScope: public benchmarks on data provided by the user."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from qwen3_api.data_sources import DatasetSource
from qwen3_api.v1alpha1.meta import KubeModel, Rule


class Benchmark(StrEnum):
    """EvalScope's names of the supported benchmarks: one prompt and one answer per row, scored
    without a judge. Each is tested with rows of its format."""

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
"""Benchmarks with worked examples from a file; the others have none in EvalScope."""


class EvalScopeSuite(KubeModel):
    """One public benchmark. EvalScope builds the prompts and scores the answers; nothing is
    downloaded."""

    dataset: Benchmark
    """dataset: EvalScope's name of the benchmark, for example gsm8k, mmlu, ceval or aime24."""
    data: DatasetSource
    """data: JSONL rows with the fields of the published benchmark; ceval also needs a field
    subject."""
    limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """limit on the number of rows, from the start of the file."""
    few_shot: Annotated[int, Field(ge=1, le=32)] | None = None
    """fewShot: number of worked examples in each prompt, the first ones of the question's subject;
    default: none."""
    examples: DatasetSource | None = None
    """examples: JSONL rows of the same format for fewShot; the benchmark's train or dev split,
    never the questions themselves."""

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
            f"{', '.join(b.value for b in FEW_SHOT)}: the others have no examples",
            check=lambda m: m.few_shot is None or m.dataset in FEW_SHOT,
            field_path=".fewShot",
        ),
    )
