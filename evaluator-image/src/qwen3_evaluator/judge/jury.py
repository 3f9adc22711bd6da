"""The jury of a suite: several judges, each asked by itself, about one answer or about a pair."""

import asyncio
import hashlib
import logging
import secrets
from itertools import zip_longest
from typing import TYPE_CHECKING

import aiohttp

from qwen3_api.job.evaluate import EvalJudge, EvalSuite, JudgeOpinion, JudgeUsage
from qwen3_api.metrics import Metric, ScoredBy
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_evaluator.judge.client import JudgeClient, Meter
from qwen3_evaluator.judge.prompt import Matter, Verdict, build_messages, parse_verdict
from qwen3_evaluator.questions import Question

if TYPE_CHECKING:
    from qwen3_evaluator.endpoint.client import RetryPolicy

log = logging.getLogger(__name__)

TRIES = 3
"""Replies that may be no verdict before a judge is given up."""
_REASON_LIMIT = 2000
"""Characters of `JudgeOpinion.reason`."""


class Jury:
    """The judges of a suite, with what they have said and cost in this run.

    Judges are asked one after the other, so a worker has one request in flight. Raises
    FailureError when made: the key of a judge is missing.
    """

    def __init__(
        self, judge: EvalJudge, http: aiohttp.ClientSession, retry_policy: "RetryPolicy"
    ) -> None:
        self._meter = Meter(judge.max_requests, judge.max_cost)
        self._judges = [
            JudgeClient(endpoint, http, retry_policy, self._meter, price)
            for endpoint, price in zip_longest(judge.endpoints, judge.prices)
        ]
        self._rubric = judge.rubric
        self._swap = judge.swap_positions
        self._verdicts: dict[tuple[str, Matter], Verdict] = {}
        self._asking: dict[tuple[str, Matter], asyncio.Lock] = {}

    @property
    def usage(self) -> JudgeUsage:
        """What the judges have cost so far."""
        return self._meter.to_usage()

    async def score(self, question: Question, answer: str) -> list[JudgeOpinion]:
        """What each judge gives the answer by itself. A blank one scores 0 unasked.

        Raises FailureError: JudgeUnavailable, JudgeUnusable, too many requests, too much money.
        """
        if is_blank(answer):
            return self._unanimous(None, 0, "The answer is blank; the judge was not asked.")
        matter = _matter(question, answer)
        opinions = []
        for judge in self._judges:
            verdict = await self._ask(judge, matter)
            opinions.append(_opinion(judge.name, None, verdict.value, verdict.reason))
        return opinions

    async def compare(
        self, question: Question, baseline: str, answer: str, other: str
    ) -> list[JudgeOpinion]:
        """Which answer each judge prefers: `answer` is the target's, `other` the baseline's.

        With `swap_positions` a judge wins the pair over in both orders or it is a tie. Without, the
        target's place is drawn by the question, so that a judge's liking for a place favours
        neither model over a suite. A blank answer loses to one that isn't, and equal ones tie, all
        unasked. Raises as `score` does.
        """
        if (foregone := _foregone(answer, other)) is not None:
            return self._unanimous(baseline, *foregone)
        opinions = []
        disagreed = False
        for judge in self._judges:
            score, reason, torn = await self._compare(judge, question, answer, other)
            opinions.append(_opinion(judge.name, baseline, score, reason))
            disagreed = disagreed or torn or score != opinions[0].score
        self._meter.disagreements += disagreed
        return opinions

    async def _compare(
        self, judge: JudgeClient, question: Question, answer: str, other: str
    ) -> tuple[float, str, bool]:
        """Score of the target, the judge's reason, and whether its two orders disagreed."""
        votes = []
        reasons = []
        for first in (True, False) if self._swap else (_comes_first(question),):
            pair = (answer, other) if first else (other, answer)
            verdict = await self._ask(judge, _matter(question, *pair))
            votes.append(verdict.value if first else 1 - verdict.value)
            place = "A" if first else "B"
            reasons.append(f"[the target is {place}] {verdict.reason}"[: _REASON_LIMIT // 2 - 1])
        torn = len(set(votes)) > 1
        return 0.5 if torn else votes[0], "\n".join(reasons), torn

    def _unanimous(self, baseline: str | None, score: float, reason: str) -> list[JudgeOpinion]:
        return [_opinion(judge.name, baseline, score, reason) for judge in self._judges]

    async def _ask(self, judge: JudgeClient, matter: Matter) -> Verdict:
        """The judge's verdict, asked once in a run however many want it at the same time."""
        key = (judge.name, matter)
        async with self._asking.setdefault(key, asyncio.Lock()):
            if key not in self._verdicts:
                self._verdicts[key] = await self._ask_until_readable(judge, matter)
        self._asking.pop(key, None)
        return self._verdicts[key]

    async def _ask_until_readable(self, judge: JudgeClient, matter: Matter) -> Verdict:
        said = ""
        for attempt in range(TRIES):
            reply = await judge.complete(
                build_messages(matter, self._rubric, secrets.token_hex(8), reminder=bool(attempt))
            )
            verdict = parse_verdict(reply.text, pair=matter.is_pair) if reply.complete else None
            if verdict is not None:
                return verdict
            self._meter.unreadable += 1
            said = reply.text[:200]
            log.warning("%s gave no verdict (%d of %d): %r", judge, attempt + 1, TRIES, said)
        raise FailureError(
            Reason.JUDGE_UNUSABLE,
            f"{judge}: {TRIES} replies to the same were no verdict; the last begins {said!r}",
            hint=f"Take another model for judge {judge.name}: it must be able to reply with a JSON "
            "object, after thinking if it likes, before it runs out of tokens.",
        )


def count_requests(suite: EvalSuite, questions: int, baselines: int) -> int:
    """How many requests the judges of a suite are sent at most, without tries that fail.

    questions: rows that are asked; each has `suite.samples` answers per model.
    baselines: models that the target is compared with.
    """
    if suite.judge is None:
        return 0
    by_itself = 1 + baselines if is_judged_alone(suite) else 0
    orders = 2 if suite.judge.swap_positions else 1
    in_pairs = orders * baselines if is_judged_in_pairs(suite) else 0
    return len(suite.judge.endpoints) * questions * suite.samples * (by_itself + in_pairs)


def is_judged_alone(suite: EvalSuite) -> bool:
    """Whether judges score each answer by itself."""
    return any(m.facts.scores_one_answer for m in _judged(suite))


def is_judged_in_pairs(suite: EvalSuite) -> bool:
    """Whether judges compare the target's answers with each baseline's."""
    return any(m.facts.per_baseline for m in _judged(suite))


def _judged(suite: EvalSuite) -> list[Metric]:
    return [m for m in suite.metrics if m.facts.scored_by is ScoredBy.JUDGES]


def is_blank(answer: str) -> bool:
    """Whether nothing in it can be seen: blanks, newlines, zero-width characters."""
    return not any(c.isprintable() and not c.isspace() for c in answer)


def _foregone(answer: str, other: str) -> tuple[float, str] | None:
    """Score and reason of a pair that no judge need look at."""
    blanks = is_blank(answer), is_blank(other)
    if blanks == (True, True):
        return 0.5, "Both answers are blank; the judge was not asked."
    if blanks == (True, False):
        return 0, "The target's answer is blank; the judge was not asked."
    if blanks == (False, True):
        return 1, "The baseline's answer is blank; the judge was not asked."
    if answer.rstrip() == other.rstrip():
        return 0.5, "The answers are the same; the judge was not asked."
    return None


def _comes_first(question: Question) -> bool:
    """Whether the target is A: for half of all questions, always the same for one of them."""
    return hashlib.sha256(question.question.encode(errors="replace")).digest()[0] % 2 == 0


def _matter(question: Question, *answers: str) -> Matter:
    return Matter(
        question=question.question,
        expected=question.answer,
        answers=tuple(answer.rstrip() for answer in answers),
        system=question.system,
    )


def _opinion(judge: str, baseline: str | None, score: float, reason: str) -> JudgeOpinion:
    return JudgeOpinion(judge=judge, baseline=baseline, score=score, reason=reason[:_REASON_LIMIT])
