"""The page: verdict, gates, scores, escaping, size."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from string import Formatter
from typing import Any

import pytest

from qwen3_api.job.base import Failure
from qwen3_api.job.evaluate import (
    EvalBenchmark,
    EvalGate,
    EvalGateResult,
    EvalJob,
    EvalReport,
    EvalSample,
)
from qwen3_api.metrics import Metric
from qwen3_evaluator.html_report import MAX_BYTES, render_html
from qwen3_evaluator.questions import describe
from qwen3_evaluator.report_changes import Limits
from qwen3_evaluator.report_texts import TEXTS, say
from qwen3_evaluator.report_views import build_gate, build_headline, build_page, format_p
from qwen3_evaluator.scores import Scores, build_results
from support.eval_reports import build_job, build_report, build_samples, build_training

HOSTILE = "</script></style><img src=x onerror=\"alert(1)\"><script>alert('1')</script>{{ 7 * 7 }}"
ELEMENTS = """
a article b bdi body caption circle code dd details div dl dt figcaption figure h1 h2 h3 h4 h5 head
header html i input label li line main meta nav p path pre rect section small span style summary
svg table tbody td text tfoot th thead title tr ul
"""
ALLOWED = frozenset(ELEMENTS.split())


class Page(HTMLParser):
    """Elements and text of a page; knows whether all that was opened is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def job() -> EvalJob:
    return build_job()


@pytest.fixture(scope="module")
def samples(job: EvalJob) -> list[EvalSample]:
    return build_samples(job)


@pytest.fixture(scope="module")
def report(job: EvalJob, samples: list[EvalSample]) -> EvalReport:
    return build_report(job, samples)


def gate_result(name: str = "g", **more: Any) -> EvalGateResult:
    fields = {"verdict": "Passed", "estimate": 0.7, "samples": 20, "message": "m"} | more
    return EvalGateResult(name=name, **fields)


def ordered(gate: EvalGate) -> EvalJob:
    return build_job().model_copy(update={"gates": [gate]})


def test_every_element_is_closed_and_known(
    job: EvalJob, report: EvalReport, samples: list[EvalSample]
) -> None:
    page = Page(render_html(job, report, samples, build_training()))
    assert page.open == []
    assert {tag for tag, _ in page.elements} <= ALLOWED
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [a["href"] for tag, a in page.elements if tag == "a"]
    own = [str(link)[1:] for link in links if str(link).startswith("#")]
    assert own == ids[2:]  # after the two language switches


def test_the_page_has_the_figures_of_the_report(
    job: EvalJob, report: EvalReport, samples: list[EvalSample]
) -> None:
    text = Page(render_html(job, report, samples)).text
    for result in report.results:
        assert f"{result.value:.3f} [{result.low:.3f}, {result.high:.3f}]" in text
    for comparison in report.comparisons:
        delta = f"{comparison.delta:+.3f}".replace("-", "−")
        assert delta in text
        assert f"{comparison.better} : {comparison.worse}" in text
    for gate in report.gates:
        assert gate.message in text
    for digest in report.data_sha256.values():
        assert digest in text
    assert report.target_model in text
    assert 'jq \'select(.suite == "support" and .line ==' in text


def test_the_page_says_which_benchmark_was_asked_and_with_which_examples(
    job: EvalJob, report: EvalReport, samples: list[EvalSample]
) -> None:
    asked = EvalBenchmark(dataset="gsm8k", few_shot=4, examples=job.suites[0].data)
    suites = [job.suites[0], job.suites[1].model_copy(update={"benchmark": asked})]
    digests = report.data_sha256 | {f"{suites[1].name}.examples": "e" * 64}
    text = Page(
        render_html(
            job.model_copy(update={"suites": suites}),
            report.model_copy(update={"data_sha256": digests}),
            samples,
        )
    ).text
    assert "gsm8k , prompts and scores by EvalScope" in text
    assert f"4 · {describe(job.suites[0].data)} · {'e' * 64}" in text
    assert "by EvalScope" not in Page(render_html(job, report, samples)).text


def test_the_page_says_which_metrics_are_scorers_of_weave() -> None:
    job = build_job(baselines=())
    (suite,) = job.suites
    job = job.model_copy(
        update={"suites": [suite.model_copy(update={"metrics": [Metric.VALID_XML_SCORER]})]}
    )
    samples = [
        s.model_copy(update={"scores": {"ValidXMLScorer": s.scores["ExactMatch"]}})
        for s in build_samples(build_job(baselines=()))
    ]
    results = build_results(job, Scores.from_samples(samples))
    report = build_report(build_job(baselines=()), build_samples(build_job(baselines=())))
    text = Page(render_html(job, report.model_copy(update={"results": results}), samples)).text
    assert "ValidXMLScorer" in text
    assert "by this class of weave.scorers" in text
    assert "由 weave.scorers 的同名类判定" in text
    assert results[0].samples == len({s.line for s in samples})
    assert f"{results[0].value:.3f} [{results[0].low:.3f}, {results[0].high:.3f}]" in text


def test_no_script_no_request_no_inline_style(
    job: EvalJob, report: EvalReport, samples: list[EvalSample]
) -> None:
    html = render_html(job, report, samples, build_training())
    for tag, attributes in Page(html).elements:
        assert tag not in ("script", "link", "img", "iframe", "object")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert str(attributes.get("href") or "#").startswith(("#", "https://wandb.ai/team-a/bots/"))
        assert "src" not in attributes
    assert "url(" not in html
    assert "@import" not in html


def test_policy_allows_exactly_the_style_of_the_page(
    job: EvalJob, report: EvalReport, samples: list[EvalSample]
) -> None:
    html = render_html(job, report, samples)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert policy
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy[1] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def test_hostile_texts_are_only_text(job: EvalJob, samples: list[EvalSample]) -> None:
    hostile = [
        s.model_copy(
            update={
                "category": f"{HOSTILE}{s.line % 2}",
                "question": HOSTILE,
                "expected": HOSTILE,
                "answer": HOSTILE,
                "reasoning": HOSTILE,
                "opinions": [
                    o.model_copy(update={"judge": HOSTILE, "reason": HOSTILE}) for o in s.opinions
                ],
            }
        )
        for s in samples
    ]
    report = build_report(job, hostile)
    gates = [g.model_copy(update={"name": HOSTILE, "message": HOSTILE}) for g in report.gates]
    evil = report.model_copy(
        update={"gates": gates, "target_model": HOSTILE, "versions": {HOSTILE: HOSTILE[:60]}}
    )
    page = Page(render_html(job, evil, hostile))
    assert page.open == []
    assert {tag for tag, _ in page.elements} <= ALLOWED
    assert page.text.count(HOSTILE) > 200
    assert not [n for _, attributes in page.elements for n in attributes if n.startswith("on")]


def test_values_put_into_texts_are_escaped() -> None:
    html = say("win_over", model="<b>{baseline}", baseline="&")
    assert "&lt;b&gt;{baseline} over &amp;" in html


def test_both_languages_take_the_same_values() -> None:
    def fields(text: str) -> set[str | None]:
        return {name for _, name, _, _ in Formatter().parse(text) if name is not None}

    for key, text in TEXTS.items():
        assert fields(text.en) == fields(text.zh), key


def test_failed_report_says_why_and_shows_no_results(job: EvalJob) -> None:
    failure = Failure(reason="DatasetInvalid", message="line 3: <no> answer", hint="Add it.")
    report = EvalReport(
        outcome="Failed", failure=failure, target_model="m", started="s", finished="f"
    )
    page = Page(render_html(job, report, []))
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert "Not completed" in page.text
    assert "DatasetInvalid" in page.text
    assert "line 3: <no> answer" in page.text
    assert "provenance" in ids
    assert not ids & {"gates", "scores", "changes", "heat", "thinking", "loss", "judge"}
    assert "wandb.ai" not in render_html(job, report, [])


def test_single_model_has_scores_and_its_lowest_questions() -> None:
    job = build_job(baselines=())
    samples = build_samples(job)
    text = Page(render_html(job, build_report(job, samples), samples)).text
    assert "No gates were set" in text
    assert "Lowest scores" in text
    assert "Differences" not in text
    assert "What got better" not in text


@pytest.mark.parametrize(
    ("verdict", "gates", "key", "values"),
    [
        ("Passed", ["Passed"], "lead_passed_one", {}),
        ("Passed", ["Passed", "Passed"], "lead_passed", {"n": 2, "k": 2}),
        ("Failed", ["Passed", "Failed", "Inconclusive"], "lead_failed", {"n": 3, "k": 1}),
        ("Inconclusive", ["Inconclusive", "Passed"], "lead_inconclusive", {"n": 2, "k": 1}),
        ("Completed", [], "lead_completed", {}),
    ],
)
def test_headline(verdict: str, gates: list[str], key: str, values: dict[str, int]) -> None:
    report = EvalReport.model_validate(
        {
            "outcome": "Completed",
            "verdict": verdict,
            "gates": [gate_result(f"g{k}", verdict=v) for k, v in enumerate(gates)],
            "target_model": "m",
            "started": "s",
            "finished": "f",
        }
    )
    headline = build_headline(report)
    assert (headline.word, headline.lead.key, dict(headline.lead.values)) == (verdict, key, values)


@pytest.mark.parametrize(
    ("bound", "baseline", "key", "line", "estimate"),
    [
        ({"minimum": 0.6}, None, "gate_minimum", 0.6, "0.700"),
        ({"maximum": 0.8}, None, "gate_maximum", 0.8, "0.700"),
        ({"max_regression": 0.1}, "base", "gate_max_regression", -0.1, "+0.700"),
        ({"minimum_effect": 0.05}, "base", "gate_minimum_effect", 0.0, "+0.700"),
    ],
)
def test_gate_shows_its_condition_where_it_lies(
    bound: dict[str, float], baseline: str | None, key: str, line: float, estimate: str
) -> None:
    gate = EvalGate.model_validate(
        {"name": "g", "suite": "s", "metric": "F1", "baseline": baseline, "confidence": 0.9} | bound
    )
    view = build_gate(ordered(gate), gate_result(low=0.5, high=0.9, needed_samples=1200))
    assert view.condition
    assert view.condition.key == key
    assert view.condition.values["bound"] == f"{next(iter(bound.values())):g}"
    assert view.axis
    assert view.bound_at == view.axis.at(line)
    assert (view.effect_at is not None) == ("minimum_effect" in bound)
    assert view.whisker
    assert view.whisker.at == view.axis.at(0.7)
    assert (view.estimate, view.confidence, view.needed) == (estimate, "90", "1,200")


def test_gate_without_an_estimate_has_no_chart() -> None:
    gate = EvalGate(name="g", suite="s", metric="F1", baseline=None, minimum=0.1, confidence=0.95)
    view = build_gate(ordered(gate), gate_result(estimate=None, verdict="Inconclusive", samples=0))
    assert (view.axis, view.whisker, view.bound_at, view.estimate) == (None, None, None, None)


def test_small_p_values_are_not_called_zero() -> None:
    assert [format_p(p) for p in (0.0, 0.0009, 0.001, 0.21)] == [
        "<0.001",
        "<0.001",
        "0.001",
        "0.210",
    ]


def test_what_is_left_out_is_said(
    job: EvalJob, report: EvalReport, samples: list[EvalSample]
) -> None:
    page = build_page(job, report, samples, Limits(items=2))
    lists = [found for view in page.changes for found in view.lists]
    assert all(len(found.items) == min(2, found.count) for found in lists)
    assert sum(found.left_out for found in lists) > 50


def test_ten_thousand_long_hostile_samples_stay_small(job: EvalJob) -> None:
    """Characters that escape to five bytes, in as many lists as there is room for."""
    names = [f"s{k}" for k in range(4)]
    suites = [job.suites[0].model_copy(update={"name": name}) for name in names]
    wide = job.model_copy(update={"suites": suites, "gates": []})
    long = {"question": "'" * 5000, "expected": '"' * 5000, "answer": "'" * 5000}
    samples = [
        s.model_copy(
            update=long | {"suite": name, "category": f"{s.line}'" * 60, "reasoning": "'" * 9000}
        )
        for name in names
        for s in build_samples(job, questions=850)
        if s.suite == "support"
    ]
    assert len(samples) > 10_000
    html = render_html(wide, build_report(wide, samples), samples)
    assert len(html.encode()) <= MAX_BYTES
    assert "more characters in samples.jsonl" in html
    assert html.count('<details class="item') >= 2 * len(names)
