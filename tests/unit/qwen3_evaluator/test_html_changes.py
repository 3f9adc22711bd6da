"""What got better and worse, errors by category, distributions, and what is left out."""

from collections.abc import Mapping
from typing import Any

import pytest

from qwen3_api.job.evaluate import EvalJob, EvalSample, JudgeOpinion
from qwen3_api.metrics import Metric
from qwen3_evaluator.report_answers import (
    choose_answer,
    clip,
    detect_language,
    group_answers,
    score_question,
)
from qwen3_evaluator.report_changes import ChangesView, Limits, build_changes
from qwen3_evaluator.report_spread import build_heat_maps, build_loss, build_thinking
from support.eval_reports import build_job


def order(*metrics: str, baselines: tuple[str, ...] = ("base",)) -> EvalJob:
    job = build_job()
    suite = job.suites[0].model_copy(update={"metrics": [Metric(m) for m in metrics]})
    kept = [e for e in job.baselines if e.name in baselines]
    return job.model_copy(update={"suites": [suite], "baselines": kept})


def answered(model: str, line: int, scores: Mapping[str, float], **more: Any) -> EvalSample:
    fields: dict[str, Any] = {
        "category": "a",
        "question": f"q{line}",
        "expected": "e",
        "answer": f"{model} {line}",
        "loss": None,
        "answer_tokens": None,
    }
    return EvalSample(
        suite="support",
        model=model,
        line=line,
        scores={Metric(m): s for m, s in scores.items()},
        **fields | more,
    )


def changes(job: EvalJob, samples: list[EvalSample], limits: Limits = Limits()) -> ChangesView:  # noqa: B008
    (view,) = build_changes(job, group_answers(samples), limits)
    return view


def pairs(metric: str, scores: Mapping[int, tuple[float, float]]) -> list[EvalSample]:
    """Samples by line, of target and base."""
    return [
        answered(model, line, {metric: score})
        for line, both in scores.items()
        for model, score in zip(("target", "base"), both, strict=True)
    ]


def test_largest_change_is_first_and_what_is_equal_is_counted() -> None:
    samples = pairs("F1", {1: (0.5, 0.6), 2: (0.1, 0.9), 3: (1, 1), 4: (0.8, 0.2), 5: (1, 0)})
    view = changes(order("F1"), samples)
    worse, better = view.lists
    assert [i.line for i in worse.items] == [2, 1]
    assert [i.line for i in better.items] == [5, 4]
    assert view.same == 1
    first = worse.items[0]
    assert (first.before, first.after) == ("0.90", "0.10")
    texts = [a.answer.text for a in first.answers if a.answer]
    assert texts == ["target 2", "base 2"]


def test_other_metrics_decide_between_changes_of_one_size() -> None:
    samples = [
        answered(model, line, {"ExactMatch": exact, "F1": f1})
        for line, model, exact, f1 in [
            (1, "target", 0, 0.8),
            (1, "base", 1, 1),
            (2, "target", 0, 0.1),
            (2, "base", 1, 1),
        ]
    ]
    worse, _ = changes(order("ExactMatch", "F1"), samples).lists
    assert [i.line for i in worse.items] == [2, 1]


def test_left_out_questions_are_counted() -> None:
    samples = pairs("F1", dict.fromkeys(range(1, 31), (0.0, 1.0)))
    worse, better = changes(order("F1"), samples, Limits(items=4)).lists
    assert (worse.count, len(worse.items), worse.left_out) == (30, 4, 26)
    assert (better.count, better.left_out) == (0, 0)


def test_all_lists_share_a_total() -> None:
    assert Limits(items=10, total=20).items_of(4) == 5
    assert Limits(items=10, total=20).items_of(100) == 1


def test_less_loss_is_better() -> None:
    samples = [
        answered(model, line, {}, loss=loss, answer_tokens=4, answer=None)
        for line, model, loss in [
            (1, "target", 2.0),
            (1, "base", 4.0),
            (2, "target", 4.0),
            (2, "base", 2.0),
        ]
    ]
    worse, better = changes(order("AssistantLoss"), samples).lists
    assert [i.line for i in worse.items] == [2]
    assert [(i.line, i.before, i.after) for i in better.items] == [(1, "1", "0.50")]
    assert better.items[0].answers[0].answer is None


def test_judges_of_the_pair_decide_a_suite_with_nothing_else() -> None:
    def opinion(score: float, baseline: str = "base") -> JudgeOpinion:
        return JudgeOpinion(judge="j", baseline=baseline, score=score, reason="r")

    samples = [
        answered("target", 1, {}, opinions=[opinion(0), opinion(1, "incumbent")]),
        answered("target", 2, {}, opinions=[opinion(1), opinion(1)]),
        answered("target", 3, {}, opinions=[opinion(0.5)]),
        *(answered("base", line, {}) for line in (1, 2, 3)),
    ]
    view = changes(order("AssistantLoss", "JudgeWin"), samples)
    worse, better = view.lists
    assert view.metric == "JudgeWin"
    assert [(i.line, i.before, i.after) for i in worse.items] == [(1, None, "0")]
    assert [o.prefers for o in worse.items[0].opinions] == ["base"]
    assert [o.prefers for o in better.items[0].opinions] == ["target", "target"]
    assert view.same == 1


def test_without_baselines_the_lowest_scores() -> None:
    samples = [answered("target", n, {"F1": s}) for n, s in ((1, 0.9), (2, 0.1), (3, 0.5))]
    view = changes(order("F1", baselines=()), samples, Limits(items=2))
    (lowest,) = view.lists
    assert view.baseline is None
    assert [(i.line, i.after) for i in lowest.items] == [(2, "0.10"), (3, "0.50")]
    assert lowest.left_out == 1


def test_question_scores_the_mean_of_its_samples_and_shows_the_one_nearest_to_it() -> None:
    samples = [answered("target", 1, {"F1": s}, sample=k) for k, s in enumerate((0, 0.6, 0.9))]
    assert score_question(samples, Metric("F1")) == pytest.approx(0.5)
    assert choose_answer(samples, Metric("F1")).sample == 1


@pytest.mark.parametrize(("best", "sample"), [(True, 1), (False, 0)])
def test_of_equally_near_answers_the_one_that_shows_the_change(best: bool, sample: int) -> None:
    samples = [answered("target", 1, {"F1": s}, sample=k) for k, s in enumerate((0, 1, 0, 1))]
    assert choose_answer(samples, Metric("F1"), best=best).sample == sample


def test_item_shows_answers_that_differ_as_their_means_do() -> None:
    samples = [
        answered(model, 1, {"ExactMatch": score}, sample=k)
        for model, scores in (("target", (1, 0)), ("base", (0, 1)), ("base", (1, 1)))
        for k, score in enumerate(scores)
    ]
    (item,) = changes(order("ExactMatch"), samples).lists[0].items
    assert (item.before, item.after) == ("0.75", "0.50")
    assert [a.scores for a in item.answers] == [(("ExactMatch", "0"),), (("ExactMatch", "1"),)]


def test_an_answer_without_a_score_never_stands_for_one_with() -> None:
    samples = [answered("target", 1, {}), answered("target", 1, {"F1": 0.2}, sample=1)]
    assert choose_answer(samples, Metric("F1")).sample == 1


def test_clipped_text_says_how_much_is_missing() -> None:
    clipped = clip("a\x00\x1b[31m\r\n\tb\u200d\ud800" + "c" * 10, 13)
    assert clipped.text == "a\ufffd\ufffd[31m\n\tb\u200d\ufffd"
    assert clipped.left_out == 10


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("怎么注销我的账户？", "zh-Hans"),
        ("请打开 App 的设置", "zh-Hans"),
        ("The word 人 means person.", None),
        ("パスワードを忘れました", "ja"),
        ("비밀번호", "ko"),
        ("How long?", None),
        ("", None),
    ],
)
def test_language_of_a_text(text: str, language: str | None) -> None:
    assert detect_language(text) == language


def test_heat_map_has_the_share_of_wrong_answers_by_category_and_model() -> None:
    scores = {1: (1, 0), 2: (0, 0), 3: (1, 1), 4: (1, 0)}
    samples = [
        s.model_copy(update={"category": "odd" if s.line % 2 else None})
        for s in pairs("ExactMatch", scores)
    ]
    (heat,) = build_heat_maps(order("ExactMatch"), group_answers(samples))
    assert heat.binary
    assert heat.models == ("target", "base")
    assert [(r.category, r.n, [c.percent for c in r.cells]) for r in heat.rows] == [
        (None, 2, ["50", "100"]),
        ("odd", 2, ["0", "50"]),
    ]
    assert [c.shade for c in heat.rows[0].cells] == [5, 10]
    assert [c.percent for c in heat.total.cells] == ["25", "75"]


def test_heat_map_of_scores_between_0_and_1_is_the_mean_that_is_missing() -> None:
    samples = pairs("F1", {1: (0.5, 0.25), 2: (1, 0.75)})
    samples[0] = samples[0].model_copy(update={"category": "b"})
    (heat,) = build_heat_maps(order("F1"), group_answers(samples))
    assert not heat.binary
    assert [c.percent for c in heat.total.cells] == ["25", "50"]


def test_many_categories_are_pooled() -> None:
    samples = [
        answered("target", line, {"F1": 1.0}, category=f"c{line:04d}") for line in range(1, 1001)
    ]
    (heat,) = build_heat_maps(order("F1", baselines=()), group_answers(samples))
    assert len(heat.rows) == 30
    assert (heat.rows[-1].pooled, heat.rows[-1].n) == (971, 971)
    assert sum(row.n for row in heat.rows) == heat.total.n == 1000


def test_thinking_counts_characters_of_answers_that_have_any() -> None:
    lengths = (10, 0, 30, 20)
    samples = [
        answered("target", k, {}, reasoning="思" * n or None) for k, n in enumerate(lengths, 1)
    ]
    (view,) = build_thinking(order("F1"), group_answers(samples))
    (spread,) = view.spreads
    assert (spread.count, spread.of) == (3, 4)
    assert (spread.median, spread.longest) == ("20", "30")
    assert sum(bar.count for bar in spread.bars) == 3


def test_no_thinking_no_chart() -> None:
    samples = [answered("target", 1, {"F1": 1.0})]
    assert build_thinking(order("F1"), group_answers(samples)) == []
    assert build_loss(order("F1"), group_answers(samples)) == []


def test_loss_is_per_token_of_the_question() -> None:
    samples = [
        answered("target", 1, {}, loss=6.0, answer_tokens=3),
        answered("target", 2, {}, loss=1.0, answer_tokens=1),
        answered("target", 2, {}, sample=1),
    ]
    (view,) = build_loss(order("AssistantLoss"), group_answers(samples))
    (spread,) = view.spreads
    assert (spread.count, spread.median, spread.longest) == (2, "1.50", "2.00")
