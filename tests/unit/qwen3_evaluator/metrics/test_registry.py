"""Every metric of the API is declared, implemented and documented exactly once."""

import pkgutil
import re
from pathlib import Path

import pytest
import yaml

from qwen3_api.metrics import OF_QUESTIONS, PER_BASELINE, Metric, ScoredBy, requiring, spell
from qwen3_evaluator import metrics
from qwen3_evaluator.metrics import Scorer, needs_answer, registry
from qwen3_evaluator.questions import Question
from support.metrics import build_suite

ROOT = Path(__file__).parents[4]
MODULES = {m.name for m in pkgutil.iter_modules(metrics.__path__)}
SHARED = {"registry", "text"}
"""Modules of the package that are no metric's."""


def test_each_metric_has_a_module_and_each_module_a_metric() -> None:
    implemented = {m: i.module.rpartition(".")[2] for m, i in registry.IMPLEMENTATIONS.items()}
    assert implemented.keys() == set(Metric)
    assert set(implemented.values()) == MODULES - SHARED


def test_a_second_module_for_a_metric_is_refused() -> None:
    with pytest.raises(ValueError, match=r"F1 is declared by qwen3_evaluator\.metrics\.f1 already"):
        metrics.scorer(Metric.F1)(lambda _: lambda _question, _answer: 0.0)


def test_code_that_doesnt_fit_the_declared_source_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "IMPLEMENTATIONS", {})
    with pytest.raises(ValueError, match="F1 is scored by the answer's text"):
        registry.stored(__name__, Metric.F1)
    with pytest.raises(ValueError, match="Accuracy is scored by EvalScope"):
        metrics.scorer(Metric.ACCURACY)(lambda _: lambda _question, _answer: 0.0)


def test_each_metric_has_a_row_on_the_reference_page() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    assert re.findall(r"^\| `(\w+)`", page, re.MULTILINE) == [m.value for m in Metric]


@pytest.mark.parametrize("kind", ["qwen3evals", "qwen3finetunes"])
def test_each_metric_is_in_the_enums_of_the_crds_once(kind: str) -> None:
    found = []

    def visit(node: object) -> None:
        if isinstance(node, dict):
            values = node.get("enum")
            if isinstance(values, list) and Metric.EXACT_MATCH.value in values:
                found.append(values)
            for child in node.values():
                visit(child)
        elif isinstance(node, list):
            for child in node:
                visit(child)

    visit(yaml.safe_load((ROOT / "crds" / f"{kind}.yaml").read_text()))
    # Of suites and of gates.
    assert found == [[m.value for m in Metric]] * 2


def test_the_example_in_contributing_names_the_files_of_each_metric() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.partition("## Add a metric\n")[2].partition("\n#")[0]
    paths = re.findall(r"^\d\. `([\w./<>-]+)`", section, re.MULTILINE)
    assert len(paths) == 3, "a metric touches three files that are written by hand"
    for name in MODULES - SHARED - {"accuracy", "weave"}:
        for path in paths:
            assert (ROOT / path.replace("<name>", name)).is_file(), path
    (declared,) = (p for p in paths if p.startswith("crds/"))
    source = (ROOT / declared).read_text()
    for metric in Metric:
        assert source.count(f'"{metric}"') == 1


def test_facts_that_go_together() -> None:
    assert requiring("judge") == tuple(
        m for m in OF_QUESTIONS if m.facts.scored_by is ScoredBy.JUDGES
    )
    assert all(m.facts.needs_answer for m in PER_BASELINE)


def test_names_in_sentences() -> None:
    assert spell((Metric.F1,)) == "F1"
    assert spell((Metric.F1, Metric.BLEU)) == "F1 and BLEU"
    assert spell((Metric.F1, Metric.BLEU, Metric.ROUGE_L), "or") == "F1, BLEU or RougeL"


def test_one_answer_is_scored_by_all_metrics_of_its_suite() -> None:
    chosen = build_suite(
        "F1", "ExactMatch", "BLEU", "RougeL", "AssistantLoss", "JudgeScore", "JudgeWin"
    )
    scores = Scorer(chosen).score(Question(1, "q", "so it is"), "so it is")
    assert scores == {"F1": 1, "ExactMatch": 1, "BLEU": 1, "RougeL": 1}


def test_only_the_loss_needs_no_answer() -> None:
    assert not needs_answer(build_suite("AssistantLoss"))
    assert needs_answer(build_suite("AssistantLoss", "JudgeWin"))
