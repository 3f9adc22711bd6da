"""A made-up evaluation for tests of the report: every figure follows from its samples."""

import random
from collections.abc import Sequence
from statistics import fmean, stdev

from qwen3_api.data_sources import S3Data
from qwen3_api.job.base import S3Location
from qwen3_api.job.evaluate import (
    EvalComparison,
    EvalEndpoint,
    EvalGate,
    EvalGateResult,
    EvalJob,
    EvalJudge,
    EvalReport,
    EvalResult,
    EvalSample,
    EvalSuite,
    EvalTracking,
    EvalTraining,
    EvalWeave,
    JudgeOpinion,
    JudgeUsage,
    ModelUsage,
)
from qwen3_api.job.report import Commit
from qwen3_api.job.train import JobWandb
from qwen3_api.metrics import Metric
from qwen3_evaluator.training import TrainingRecord

BUCKET = S3Location(endpoint=None, region=None, bucket="ml", prefix="q3")
ENGLISH = (
    ("returns", "How long may I keep a pair of headphones before I send them back?",
     "30 days from delivery, unopened or not. The label is in your account under Orders."),
    ("shipping", "My parcel says “delivered” but nothing is here. What do I do now?",
     "Wait one working day, ask the neighbours, then open a claim in the app."),
    ("returns", "Can I return something that I bought with a voucher?",
     "Yes. The voucher's part goes back to the voucher, the rest to your card."),
    ("shipping", "Do you ship to Norway, and who pays the duty?",
     "Yes, in 4 to 6 days. Duty is in the price that you see at checkout."),
)  # fmt: skip
CHINESE = (
    ("账户", "我忘记了密码，手机号码也换了，怎样才能重新登录？",
     "请用注册邮箱接收验证码重置密码，登录后在“账户设置”中更换手机号码。"),
    ("账户", "怎么注销我的账户？注销以后订单记录还在吗？",
     "在“设置－隐私”中申请注销，7 天后生效；订单记录依法保留三年。"),
)  # fmt: skip
THOUGHT_EN = (
    "The customer asks about our policy. I should check the window, then say where the label is. "
)
THOUGHT_ZH = "用户想知道具体步骤。先确认能否收到验证码，再说明在哪里修改号码。"


def build_job(baselines: Sequence[str] = ("base", "incumbent")) -> EvalJob:
    """Two suites: support (thinking, judged, 60 questions) and sums (4 answers each)."""
    judge = EvalJudge(
        endpoints=[_endpoint("jury-a", "Qwen/Qwen3-32B")],
        rubric=None,
        swap_positions=True,
        max_requests=10_000,
    )
    support = EvalSuite(
        name="support",
        data=S3Data(location=BUCKET.join("eval/support.jsonl")),
        metrics=["F1", "ExactMatch", "JudgeScore", "JudgeWin", "AssistantLoss"],
        limit=60,
        max_tokens=2048,
        temperature=0.0,
        thinking=True,
        seed=3407,
        judge=judge,
    )
    sums = EvalSuite(
        name="sums",
        data=S3Data(location=BUCKET.join("eval/sums.jsonl")),
        metrics=["ExactMatch"],
        limit=None,
        max_tokens=64,
        temperature=0.7,
        thinking=False,
        seed=3407,
        samples=4,
    )
    names = {"base": "Qwen/Qwen3-8B", "incumbent": "team-a.support-bot.1f0c2d3e"}
    return EvalJob(
        namespace="team-a",
        name="support-bot-9a7b6c5d",
        uid="3b0e6a52-6f1e-4a40-9a7e-0f3c2f6f9d11",
        target=_endpoint("target", "team-a.support-bot.9a7b6c5d"),
        baselines=[_endpoint(name, names[name]) for name in baselines],
        suites=[support, sums] if baselines else [sums],
        gates=_gates() if baselines else [],
        concurrency=8,
        output=BUCKET.join("team-a/evals/3b0e6a52"),
        tracking=EvalTracking(
            wandb=JobWandb(project="bots", entity="team-a", offline=False, base_url=None),
            weave=EvalWeave(project="bots", entity="team-a", base_url=None, trace_url=None),
        ),
        training=EvalTraining(
            revision="9a7b6c5d",
            folder=BUCKET.join("team-a/uid/revisions/9a7b6c5d"),
            price_per_gpu_hour=2.5,
            currency="EUR",
        ),
    )


def build_training(steps: int = 400, best: int | None = 320) -> TrainingRecord:
    """A run whose validation loss turns at `best`; logged every 4 steps, validated every 40."""
    chance = random.Random(11)  # noqa: S311
    commit = Commit.model_validate(
        {
            "spec_hash": "9a7b6c5d" * 8,
            "revision": "9a7b6c5d",
            "attempt": "0d0f5f44",
            "prefix": "q3/team-a/uid/revisions/9a7b6c5d/attempts/0d0f5f44/adapter",
            "files": [{"path": "adapter_model.safetensors", "size": 1, "sha256": "a" * 64}],
            "digest": "b" * 64,
            "rank": 16,
            "metrics": {
                "final_loss": 0.842,
                "train_loss": 1.1,
                "eval_loss": 1.012,
                "best_step": best,
                "steps": steps,
                "epochs": 3.0,
                "tokens": 4_812_033,
                "train_seconds": 2750.0,
                "gpu_seconds": 5540.0,
                "rows": 2400,
                "truncated_rows": 3,
            },
            "provenance": {
                "base_model": "Qwen/Qwen3-8B",
                "base_commit": "c" * 40,
                "dataset_sha256": "d" * 64,
                "chat_template_sha256": "e" * 64,
                "seed": 3407,
                "image": "trainer",
                "versions": {},
            },
            "committed": "2026-11-24T19:59:00Z",
        }
    )
    loss = [
        (step, 0.8 + 1.6 * 2.718 ** (-step / 90) + chance.gauss(0, 0.04))
        for step in range(4, steps + 1, 4)
    ]
    turn = best or steps
    validation = [
        (step, 1.0 + 1.2 * 2.718 ** (-step / 80) + max(0, step - turn) * 0.002)
        for step in range(40, steps + 1, 40)
    ]
    return TrainingRecord(commit, loss, validation)


def _endpoint(name: str, model: str) -> EvalEndpoint:
    return EvalEndpoint(name=name, base_url="http://pool-qwen3-8b.team-a.svc/v1", model=model)


def _gates() -> list[EvalGate]:
    return [
        EvalGate(name="better-than-base", suite="support", metric="F1", baseline="base",
                 minimum_effect=0.05, confidence=0.95),
        EvalGate(name="not-worse-than-incumbent", suite="support", metric="AssistantLoss",
                 baseline="incumbent", max_regression=0.1, confidence=0.95),
        EvalGate(name="sums-kept", suite="sums", metric="ExactMatch", baseline=None,
                 minimum=0.6, confidence=0.95),
    ]  # fmt: skip


def build_samples(job: EvalJob, questions: int = 60) -> list[EvalSample]:
    """Answers of all models; the target is good, the base is not, the incumbent in between."""
    chance = random.Random(7)  # noqa: S311
    samples: list[EvalSample] = []
    for suite in job.suites:
        for line in range(
            1, (questions if suite.name == "support" else max(questions // 3, 1)) + 1
        ):
            for endpoint in (job.target, *job.baselines):
                skill = {"target": 0.75, "base": 0.35, "incumbent": 0.6}[endpoint.name]
                for sample in range(suite.samples):
                    make = _support if suite.name == "support" else _sum
                    samples.append(make(chance, endpoint.name, line, sample, skill))
    return samples


def _support(chance: random.Random, model: str, line: int, sample: int, skill: float) -> EvalSample:
    chinese = line % 3 == 0
    rows = CHINESE if chinese else ENGLISH
    category, question, expected = rows[line % len(rows)]
    good = chance.random() < skill
    pieces = list(expected) if chinese else expected.split()
    kept = pieces if good else pieces[: chance.randint(0, len(pieces) // 2)]
    answer = ("" if chinese else " ").join(kept)
    if not good and kept:
        answer += "。请联系客服。" if chinese else " … please contact us for more information."
    f1 = 1.0 if good else round(chance.uniform(0.05, 0.6), 3) if kept else 0.0
    tokens = len(pieces)
    thought = (THOUGHT_ZH if chinese else THOUGHT_EN) * int(1 + chance.expovariate(0.2))
    reason = "Complete and to the point." if good else "The steps are missing."
    score = 1.0 if good else 0.25
    opinions = [JudgeOpinion(judge="jury-a", baseline=None, score=score, reason=reason)]
    if model == "target":
        for baseline, rate in (("base", 0.75), ("incumbent", 0.55)):
            score = chance.choices((1.0, 0.5, 0.0), (rate, 0.15, 0.85 - rate))[0]
            reason = "两个回答都正确。" if score == 0.5 else "It names the place in the app."
            opinions.append(
                JudgeOpinion(judge="jury-a", baseline=baseline, score=score, reason=reason)
            )
    return EvalSample(
        suite="support",
        model=model,
        line=line,
        sample=sample,
        category=category,
        question=question,
        expected=expected,
        answer=answer,
        reasoning=thought if chance.random() < 0.95 else None,
        scores={"F1": f1, "ExactMatch": float(good), "JudgeScore": opinions[0].score},
        loss=tokens * max(0.05, chance.gauss(1.6 - skill, 0.35)),
        answer_tokens=tokens,
        opinions=opinions,
    )


def _sum(chance: random.Random, model: str, line: int, sample: int, skill: float) -> EvalSample:
    a, b = 17 * line + 3, 9 * line + 8
    good = chance.random() < skill
    return EvalSample(
        suite="sums",
        model=model,
        line=line,
        sample=sample,
        category="carry" if (a % 10 + b % 10) > 9 else "no carry",
        question=f"What is {a} + {b}?",
        expected=str(a + b),
        answer=str(a + b if good else a + b - 10),
        scores={"ExactMatch": float(good)},
        loss=None,
        answer_tokens=None,
    )


def build_report(job: EvalJob, samples: Sequence[EvalSample]) -> EvalReport:
    """Results and comparisons of the samples, with normal intervals; gates as if decided."""
    results, comparisons = [], []
    models = [e.name for e in (job.target, *job.baselines)]
    for suite in job.suites:
        for metric in suite.metrics:
            scores = {m: _scores(samples, suite.name, m, metric, None) for m in models}
            if metric == "JudgeWin":
                for baseline in models[1:]:
                    won = _scores(samples, suite.name, "target", metric, baseline)
                    results.append(_result(suite.name, metric, "target", baseline, won))
                continue
            results += [_result(suite.name, metric, m, None, scores[m]) for m in models]
            comparisons += [
                _comparison(suite.name, metric, b, scores["target"], scores[b]) for b in models[1:]
            ]
    return EvalReport(
        outcome="Completed",
        verdict="Inconclusive" if job.gates else "Completed",
        results=results,
        comparisons=comparisons,
        gates=_gate_results() if job.gates else [],
        usage=[
            ModelUsage(model=m, prompt_tokens=41_233 + 7 * k, completion_tokens=18_020 - 911 * k)
            for k, m in enumerate(models)
        ],
        judge=JudgeUsage(requests=420, prompt_tokens=301_244, completion_tokens=18_730, cost=0.26,
                         unreadable=3, disagreements=17) if job.gates else None,
        data_sha256={s.name: f"{k:02x}" * 32 for k, s in enumerate(job.suites, 161)},
        target_model=job.target.model,
        started="2026-11-24T20:15:02Z",
        finished="2026-11-24T20:31:47Z",
        versions={"qwen3-evaluator": "0.1.0", "python": "3.11.7", "sacrebleu": "2.6.0"},
    )  # fmt: skip


def _gate_results() -> list[EvalGateResult]:
    return [
        EvalGateResult(name="better-than-base", verdict="Passed", estimate=0.287, low=0.169,
                       high=0.404, samples=60,
                       message="F1 is 0.287 better than base, at least 0.169 at 95 %"),
        EvalGateResult(name="not-worse-than-incumbent", verdict="Passed", estimate=0.149, low=0.04,
                       high=0.258, samples=60,
                       message="AssistantLoss is no more than 0.1 worse than incumbent at 95 %"),
        EvalGateResult(name="sums-kept", verdict="Inconclusive", estimate=0.712, low=0.561,
                       high=0.843, samples=20, needed_samples=41,
                       message="20 questions can't tell whether ExactMatch is at least 0.6"),
    ]  # fmt: skip


def _scores(
    samples: Sequence[EvalSample], suite: str, model: str, metric: Metric, baseline: str | None
) -> dict[int, float]:
    by_line: dict[int, list[float]] = {}
    for s in samples:
        if (s.suite, s.model) != (suite, model):
            continue
        if metric == "AssistantLoss":
            values = [s.loss / s.answer_tokens] if s.loss and s.answer_tokens else []
        elif metric == "JudgeWin":
            values = [o.score for o in s.opinions if o.baseline == baseline and baseline]
        else:
            values = [s.scores[metric]]
        by_line.setdefault(s.line, []).extend(values)
    return {line: fmean(values) for line, values in by_line.items() if values}


def _result(
    suite: str, metric: Metric, model: str, baseline: str | None, scores: dict[int, float]
) -> EvalResult:
    value, half = _mean_and_half(list(scores.values()))
    high = value + half if metric == "AssistantLoss" else min(1.0, value + half)
    return EvalResult(suite=suite, metric=metric, model=model, baseline=baseline, value=value,
                      low=max(0.0, value - half), high=high, samples=len(scores))  # fmt: skip


def _comparison(
    suite: str, metric: Metric, baseline: str, mine: dict[int, float], theirs: dict[int, float]
) -> EvalComparison:
    deltas = [mine[line] - theirs[line] for line in mine]
    value, half = _mean_and_half(deltas)
    sign = -1 if metric == "AssistantLoss" else 1
    return EvalComparison(
        suite=suite, metric=metric, baseline=baseline, delta=value, low=value - half,
        high=value + half, p_value=0.0004 if abs(value) > half else 0.21,
        better=sum(sign * d > 0 for d in deltas), worse=sum(sign * d < 0 for d in deltas),
        samples=len(deltas),
    )  # fmt: skip


def _mean_and_half(values: list[float]) -> tuple[float, float]:
    spread = stdev(values) if len(values) > 1 else 0.0
    return fmean(values), 1.96 * spread / len(values) ** 0.5
