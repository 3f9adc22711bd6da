"""What got better and what got worse: questions side by side. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from qwen3_api.job.evaluate import EvalJob, EvalSample, EvalSuite
from qwen3_api.metrics import Metric
from qwen3_evaluator.metrics import read_score
from qwen3_evaluator.report_answers import (
    Answers,
    Clipped,
    choose_answer,
    choose_metric,
    clip,
    score_question,
)
from qwen3_evaluator.report_charts import format_number

_NO_CHANGE = 1e-9
Groups = Mapping[tuple[str, str], Answers]


@dataclass(frozen=True)
class Limits:
    """How much is shown, so that the file stays small."""

    items: int = 10
    """Questions of each list."""
    total: int = 240
    """Questions of all lists together."""
    characters: int = 1500
    """Of an answer, and of a question, and of a text of thinking."""

    def items_of(self, lists: int) -> int:
        """Questions of each of so many lists; at least one."""
        return max(1, min(self.items, self.total // max(1, lists)))


@dataclass(frozen=True)
class OpinionView:
    """What a judge said."""

    judge: str
    score: str
    prefers: str | None
    """Of a pair: the model that it prefers; None is a tie."""
    of_pair: bool
    reason: Clipped


@dataclass(frozen=True)
class AnswerView:
    """One answer with its scores."""

    model: str
    mark: int
    """Index of the model: colour and shape."""
    answer: Clipped | None
    reasoning: Clipped | None
    reasoning_characters: int
    scores: tuple[tuple[str, str], ...]
    sample: int
    """As in samples.jsonl."""
    samples: int
    opinions: tuple[OpinionView, ...]


@dataclass(frozen=True)
class ItemView:
    """One question, answered by the target and by whom it is compared with."""

    line: int
    category: str | None
    question: Clipped
    expected: Clipped
    before: str | None
    """The baseline's score; None where the metric is of the pair, or there is no baseline."""
    after: str
    answers: tuple[AnswerView, ...]
    opinions: tuple[OpinionView, ...]
    """About the pair."""


@dataclass(frozen=True)
class ItemList:
    """The first of a sorted list of questions."""

    kind: str
    """`worse`, `better` or `lowest`."""
    count: int
    items: tuple[ItemView, ...]

    @property
    def left_out(self) -> int:
        """How many are not shown."""
        return self.count - len(self.items)


@dataclass(frozen=True)
class ChangesView:
    """A suite against one baseline, or by itself."""

    suite: str
    metric: str
    target: str
    baseline: str | None
    lists: tuple[ItemList, ...]
    same: int


@dataclass(frozen=True)
class _Change:
    line: int
    size: float
    """Above zero: the target is better."""
    tie_break: float
    """Mean change over all metrics: 0/1 scores alone would all be of one size."""


@dataclass(frozen=True)
class _Pairing:
    """Of whom and by what the questions of a list are."""

    suite: EvalSuite
    metric: Metric
    target: str
    baseline: str | None
    marks: Mapping[str, int]
    groups: Groups

    def of(self, model: str, line: int) -> Sequence[EvalSample]:
        return self.groups.get((self.suite.name, model), {}).get(line, ())


def build_changes(job: EvalJob, groups: Groups, limits: Limits) -> list[ChangesView]:
    """A view per suite and baseline; per suite if there are no baselines."""
    marks = {e.name: k for k, e in enumerate((job.target, *job.baselines))}
    baselines: list[str | None] = [e.name for e in job.baselines] or [None]
    pairings = [
        _Pairing(suite, choose_metric(suite), job.target.name, baseline, marks, groups)
        for suite in job.suites
        for baseline in baselines
    ]
    lists = len(pairings) * (2 if job.baselines else 1)
    each = limits.items_of(lists)
    views = [
        _rank(p, each, limits.characters)
        if p.baseline is None
        else _compare(p, p.baseline, each, limits.characters)
        for p in pairings
    ]
    return [view for view in views if view is not None]


def _compare(pairing: _Pairing, baseline: str, each: int, characters: int) -> ChangesView | None:
    changes = [
        change
        for line in pairing.groups.get((pairing.suite.name, pairing.target), {})
        if (change := _change(pairing, baseline, line)) is not None
    ]
    if not changes:
        return None
    worse = sorted(
        (c for c in changes if c.size < -_NO_CHANGE), key=lambda c: (c.size, c.tie_break, c.line)
    )
    better = sorted(
        (c for c in changes if c.size > _NO_CHANGE), key=lambda c: (-c.size, -c.tie_break, c.line)
    )
    lists = tuple(
        ItemList(
            kind,
            len(found),
            tuple(_item(pairing, c.line, kind == "better", characters) for c in found[:each]),
        )
        for kind, found in (("worse", worse), ("better", better))
    )
    same = len(changes) - len(worse) - len(better)
    return _view(pairing, lists, same)


def _rank(pairing: _Pairing, each: int, characters: int) -> ChangesView | None:
    """Without a baseline: the questions with the lowest scores."""
    scored = [
        _Change(line, _goodness(score, pairing.metric), 0.0)
        for line, answers in pairing.groups.get((pairing.suite.name, pairing.target), {}).items()
        if (score := score_question(answers, pairing.metric)) is not None
    ]
    if not scored:
        return None
    scored.sort(key=lambda c: (c.size, c.line))
    items = tuple(_item(pairing, c.line, False, characters) for c in scored[:each])
    return _view(pairing, (ItemList("lowest", len(scored), items),), 0)


def _view(pairing: _Pairing, lists: tuple[ItemList, ...], same: int) -> ChangesView:
    return ChangesView(
        pairing.suite.name, pairing.metric, pairing.target, pairing.baseline, lists, same
    )


def _change(pairing: _Pairing, baseline: str, line: int) -> _Change | None:
    size = _difference(pairing, baseline, line, pairing.metric)
    if size is None:
        return None
    others = [_difference(pairing, baseline, line, metric) for metric in pairing.suite.metrics]
    return _Change(line, size, fmean(d for d in others if d is not None))


def _difference(pairing: _Pairing, baseline: str, line: int, metric: Metric) -> float | None:
    """Improvement of the target over the baseline; of pairs, what it has above a tie."""
    mine = score_question(pairing.of(pairing.target, line), metric, baseline)
    if metric.facts.per_baseline:
        return None if mine is None else mine - 0.5
    theirs = score_question(pairing.of(baseline, line), metric)
    if mine is None or theirs is None:
        return None
    return _goodness(mine, metric) - _goodness(theirs, metric)


def _goodness(score: float, metric: Metric) -> float:
    return -score if metric.facts.lower_is_better else score


def _item(pairing: _Pairing, line: int, better: bool, characters: int) -> ItemView:
    metric, baseline = pairing.metric, pairing.baseline
    targets = pairing.of(pairing.target, line)
    theirs = pairing.of(baseline, line) if baseline else ()
    after = score_question(targets, metric, baseline)
    before = score_question(theirs, metric) if not metric.facts.per_baseline else None
    shown = choose_answer(targets, metric, baseline, best=better)
    answers = [_answer(pairing, shown, len(targets), characters)]
    if theirs:
        other = choose_answer(theirs, metric, best=not better)
        answers.append(_answer(pairing, other, len(theirs), characters))
    return ItemView(
        line=line,
        category=None if shown.category is None else clip(shown.category, 80).text,
        question=clip(shown.question, characters),
        expected=clip(shown.expected, characters),
        before=None if before is None else _short(before),
        after="" if after is None else _short(after),
        answers=tuple(answers),
        opinions=_opinions(pairing, shown, baseline, characters) if baseline else (),
    )


def _answer(pairing: _Pairing, sample: EvalSample, samples: int, characters: int) -> AnswerView:
    scores = [
        (metric, _short(score))
        for metric in pairing.suite.metrics
        if not metric.facts.per_baseline and (score := read_score(sample, metric, None)) is not None
    ]
    return AnswerView(
        model=sample.model,
        mark=pairing.marks[sample.model],
        answer=None if sample.answer is None else clip(sample.answer, characters),
        reasoning=clip(sample.reasoning, characters) if sample.reasoning else None,
        reasoning_characters=len(sample.reasoning or ""),
        scores=tuple(scores),
        sample=sample.sample,
        samples=samples,
        opinions=_opinions(pairing, sample, None, characters),
    )


def _opinions(
    pairing: _Pairing, sample: EvalSample, baseline: str | None, characters: int
) -> tuple[OpinionView, ...]:
    return tuple(
        OpinionView(
            judge=o.judge,
            score=_short(o.score),
            prefers=_preferred(o.score, pairing.target, baseline),
            of_pair=baseline is not None,
            reason=clip(o.reason, min(characters, 600)),
        )
        for o in sample.opinions
        if o.baseline == baseline
    )


def _preferred(score: float, target: str, baseline: str | None) -> str | None:
    if score == 0.5:
        return None
    return target if score > 0.5 else baseline


def _short(score: float) -> str:
    return format_number(score, 0 if score == int(score) else 2)
