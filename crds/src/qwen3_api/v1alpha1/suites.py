"""Suites, metrics, judges and gates, shared by `Qwen3Eval` and by `spec.evaluation` of a
`Qwen3FineTune`."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from qwen3_api.data_sources import DatasetSource
from qwen3_api.metrics import (
    OF_EVAL_SCOPE,
    OF_QUESTIONS,
    OF_WEAVE,
    PER_BASELINE,
    Metric,
    requiring,
    spell,
)
from qwen3_api.v1alpha1.benchmarks import EvalScopeSuite
from qwen3_api.v1alpha1.meta import (
    DnsLabel,
    KubeModel,
    ListMap,
    ListSet,
    LocalObjectReference,
    Rule,
)
from qwen3_api.v1alpha1.numbers import DecimalString, NumberOrString, Quantity
from qwen3_api.v1alpha1.weave_scorers import WeaveScorers

ModelUrl = Annotated[
    str,
    Field(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$", max_length=512),
]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=160)]


class EndpointTarget(KubeModel):
    """A model behind any OpenAI-compatible endpoint."""

    url: ModelUrl
    """url of the API, with its version: https://models.example.com/v1."""
    model: ModelName
    """model name at the endpoint."""
    secret_ref: LocalObjectReference | None = None
    """secretRef names a Secret of this namespace with OPENAI_API_KEY; the kubelet passes it to the
    evaluator."""


class SuiteType(StrEnum):
    """Kind of suite."""

    QUESTIONS = "Questions"
    """The user's own rows of question and answer."""
    EVAL_SCOPE = "EvalScope"
    """A public benchmark, with EvalScope's prompts and scoring."""


class JudgeEndpoint(EndpointTarget):
    """One judge."""

    name: DnsLabel
    """name of the judge in samples and report."""
    prompt_price: DecimalString | None = None
    """promptPrice per million prompt tokens."""
    completion_price: DecimalString | None = None
    """completionPrice per million completion tokens."""


class JudgeSpec(KubeModel):
    """Models that judge answers. With several judges the mean counts."""

    endpoints: Annotated[list[JudgeEndpoint], Field(min_length=1, max_length=5), ListMap("name")]
    """endpoints of the judges."""
    rubric: Annotated[str, Field(max_length=4096)] | None = None
    """rubric for the judges; default: correct, complete, in the language of the question."""
    swap_positions: bool = True
    """swapPositions has each pair judged twice, with the answers in both orders; a judge that
    prefers a position rather than an answer counts as a tie."""
    max_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """maxRequests to all judges together; an evaluation that needs more fails immediately."""
    max_cost: DecimalString | None = None
    """maxCost of all judges of the suite together, in the currency of their prices; checked before
    each request, so requests in flight come on top."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(dyn(self).maxCost)"
            " || self.endpoints.all(e, has(dyn(e).promptPrice) && has(dyn(e).completionPrice))",
            message="maxCost needs promptPrice and completionPrice of every judge",
            check=lambda m: (
                m.max_cost is None
                or all(
                    e.prompt_price is not None and e.completion_price is not None
                    for e in m.endpoints
                )
            ),
            field_path=".maxCost",
        ),
    )


JUDGED = requiring("judge")


def _names(metrics: tuple[Metric, ...]) -> list[str]:
    """A list as CEL writes it, too."""
    return [metric.value for metric in metrics]


def _contains(field: str, metrics: tuple[Metric, ...]) -> str:
    """CEL: whether a list has one of the metrics."""
    return " || ".join(f"'{metric}' in {field}" for metric in metrics)


def _goes_with(field: str, get: Callable[[Any], object | None]) -> Rule:
    """A field of `questions` is set if, and only if, a metric that requires it is measured."""
    metrics = requiring(field)
    one = len(metrics) == 1
    measured = _contains("self.metrics", metrics)
    return Rule(
        cel=f"has(self.{field}) == "
        + (f"({measured})" if one else f"self.metrics.exists(m, m in {_names(metrics)})"),
        message=f"{field} goes with the metric{'' if one else 's'} {spell(metrics)}, and only with "
        f"{'it' if one else 'them'}",
        check=lambda m: (get(m) is not None) == any(x in metrics for x in m.metrics),
        field_path=f".{field}",
    )


class QuestionsSuite(KubeModel):
    """Rows of question and answer (JSONL: question, answer, optional category)."""

    data: DatasetSource
    """data: JSONL rows with question, answer and, optionally, category, system and pattern."""
    metrics: Annotated[
        list[Metric],
        Field(
            max_length=len(OF_QUESTIONS),
            description=f"metrics to compute: {', '.join(OF_QUESTIONS)}; [] for the scorers of "
            "weave only.",
        ),
        ListSet(),
    ] = [Metric.EXACT_MATCH, Metric.ASSISTANT_LOSS]
    json_schema: Annotated[str, Field(max_length=16384)] | None = None
    """jsonSchema for JSONValid, as JSON text."""
    judge: Annotated[JudgeSpec, Field(description=f"judge for {spell(JUDGED)}.")] | None = None
    weave: WeaveScorers | None = None
    """weave: scorers of Weave, each an additional metric."""
    limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """limit on the number of rows, from the start of the file."""

    rules: ClassVar[tuple[Rule, ...]] = (
        _goes_with("judge", lambda m: m.judge),
        _goes_with("jsonSchema", lambda m: m.json_schema),
        Rule(
            cel=f"!({_contains('self.metrics', OF_EVAL_SCOPE)})",
            message=f"metrics can't contain {spell(OF_EVAL_SCOPE, 'or')}: it is the metric of "
            "suites of type EvalScope",
            check=lambda m: not any(x in OF_EVAL_SCOPE for x in m.metrics),
            field_path=".metrics",
        ),
        Rule(
            cel=f"!self.metrics.exists(m, m in {_names(OF_WEAVE)})",
            message="metrics can't contain Weave scorers: list them in weave.scorers",
            check=lambda m: not any(x in OF_WEAVE for x in m.metrics),
            field_path=".metrics",
        ),
        Rule(
            cel="self.metrics.size() > 0 || has(self.weave)",
            message="metrics can be empty only with weave",
            check=lambda m: bool(m.metrics) or m.weave is not None,
            field_path=".metrics",
        ),
    )


# The decimals of a zero are limited, so that a rule can list all zeros. It compares one by one:
# `in` looks in a set by type, and this value has none.
Temperature = Annotated[str, NumberOrString(r"^[0-2](\.[0-9]{1,6}|\.[0-9]*[1-9])?$", below=3)]
_ZEROS = ["0", *(f"0.{'0' * decimals}" for decimals in range(1, 7))]


class GenerationSpec(KubeModel):
    """Sampling parameters."""

    max_tokens: Annotated[int, Field(ge=1, le=32768)] = 256
    """maxTokens of an answer."""
    temperature: Temperature = "0"
    """temperature of sampling, below 3; 0 means greedy decoding."""
    thinking: bool = False
    """thinking sets enable_thinking in the chat template."""
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = 3407
    """seed of sampling."""
    samples: Annotated[int, Field(ge=1, le=32)] = 1
    """samples of each answer, with the seeds seed, seed + 1 and so on; a question's score is their
    mean."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.samples == 1 || !(dyn(self).temperature == 0 || dyn(self).temperature == 0.0"
            f" || {_ZEROS}.exists(zero, dyn(self).temperature == zero))",
            message="samples above 1 need a temperature above 0: greedy answers are identical",
            check=lambda m: m.samples == 1 or float(m.temperature) > 0,
            field_path=".samples",
        ),
    )


class Suite(KubeModel):
    """One set of questions."""

    name: DnsLabel
    """name of the suite in results."""
    type: SuiteType = SuiteType.QUESTIONS
    """type: Questions for your own rows, or EvalScope for a public benchmark."""
    questions: QuestionsSuite | None = None
    """questions of the suite; only with type Questions."""
    eval_scope: EvalScopeSuite | None = None
    """evalScope benchmark; only with type EvalScope. Its metric is Accuracy."""
    generation: GenerationSpec = GenerationSpec()
    """generation settings of the answers."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="(self.type == 'Questions') == has(self.questions)",
            message="questions goes with type Questions, and only with it",
            check=lambda m: (m.type is SuiteType.QUESTIONS) == (m.questions is not None),
            field_path=".questions",
        ),
        Rule(
            cel="(self.type == 'EvalScope') == has(self.evalScope)",
            message="evalScope goes with type EvalScope, and only with it",
            check=lambda m: (m.type is SuiteType.EVAL_SCOPE) == (m.eval_scope is not None),
            field_path=".evalScope",
        ),
    )

    @property
    def metrics(self) -> list[Metric]:
        """Metrics of the suite, in the order of results."""
        if self.questions is None:
            return list(OF_EVAL_SCOPE)
        weave = self.questions.weave
        return [*self.questions.metrics, *map(Metric, weave.scorers if weave else ())]

    @property
    def judge(self) -> JudgeSpec | None:
        """Judges of the suite, if any."""
        return None if self.questions is None else self.questions.judge


class OnInsufficient(StrEnum):
    """Result of a gate when the data is inconclusive."""

    INCONCLUSIVE = "Inconclusive"
    FAIL = "Fail"


class Gate(KubeModel):
    """A condition on one metric, decided by its confidence interval and not by its estimate.

    Against a baseline the same questions are compared in pairs.
    """

    name: DnsLabel
    """name of the gate in results."""
    suite: DnsLabel
    """suite that the gate applies to."""
    metric: Metric
    """metric of that suite."""
    baseline: DnsLabel | None = None
    """baseline of the comparison; required for maxRegression and minimumEffect."""
    minimum: DecimalString | None = Field(
        default=None,
        description=f"minimum of the value; for {spell(PER_BASELINE)}, against each baseline.",
    )
    maximum: DecimalString | None = None
    """maximum of the value; for a loss."""
    max_regression: DecimalString | None = None
    """maxRegression: acceptable regression from the baseline. Passes if the data shows that the
    target is no worse than that."""
    minimum_effect: DecimalString | None = None
    """minimumEffect: smallest relevant improvement. Passes if the data shows an improvement, fails
    if it rules out one of this size."""
    confidence_percent: Annotated[int, Field(ge=50, le=99)] = 95
    """confidencePercent of the one-sided bound."""
    on_insufficient: OnInsufficient = OnInsufficient.INCONCLUSIVE
    """onInsufficient: verdict when the data is inconclusive, Inconclusive or Fail."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="[has(dyn(self).minimum), has(dyn(self).maximum), has(dyn(self).maxRegression),"
            " has(dyn(self).minimumEffect)].filter(x, x).size() == 1",
            message="set exactly one of minimum, maximum, maxRegression and minimumEffect",
            check=lambda m: (
                sum(
                    x is not None
                    for x in (m.minimum, m.maximum, m.max_regression, m.minimum_effect)
                )
                == 1
            ),
            field_path=".minimum",
        ),
        Rule(
            cel="has(self.baseline)"
            " == (has(dyn(self).maxRegression) || has(dyn(self).minimumEffect))",
            message="baseline goes with maxRegression and minimumEffect, and only with them",
            check=lambda m: (
                (m.baseline is not None)
                == (m.max_regression is not None or m.minimum_effect is not None)
            ),
            field_path=".baseline",
        ),
        Rule(
            cel=" && ".join(f"self.metric != '{metric}'" for metric in PER_BASELINE)
            + " || has(dyn(self).minimum)",
            message=f"a gate on {spell(PER_BASELINE, 'or')} must set minimum: it is already a "
            "comparison, 0.5 is a tie",
            check=lambda m: not m.metric.facts.per_baseline or m.minimum is not None,
            field_path=".minimum",
        ),
    )


Gates = Annotated[list[Gate], Field(max_length=16), ListMap("name")]
Suites = Annotated[list[Suite], Field(min_length=1, max_length=16), ListMap("name")]


def _measures(suites: list[Suite], gate: Gate) -> bool:
    return any(s.name == gate.suite and gate.metric in s.metrics for s in suites)


GATES_MEASURED = Rule(
    cel="self.gates.all(g, self.suites.exists(s, s.name == g.suite && (!has(s.questions) ? "
    + " || ".join(f"g.metric == '{metric}'" for metric in OF_EVAL_SCOPE)
    + " : g.metric in s.questions.metrics"
    " || (has(s.questions.weave) && g.metric in s.questions.weave.scorers))))",
    message="each of gates must name a suite and one of that suite's metrics",
    check=lambda m: all(_measures(m.suites, gate) for gate in m.gates),
    field_path=".gates",
)
"""For models with `suites` and `gates`."""


class RunnerSpec(KubeModel):
    """The evaluation Job. It needs no GPU."""

    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    """concurrency: number of requests in flight."""
    cpu: Quantity | None = None
    """cpu request of the pod, in cores: 2, 0.5 or 500m."""
    memory: Quantity | None = None
    """memory request and limit of the pod, 1Gi for example; without a unit in bytes, as in
    core/v1."""
    active_deadline_seconds: Annotated[int, Field(ge=10, le=604_800)] = 7200
    """activeDeadlineSeconds of the Job."""
    max_retries: Annotated[int, Field(ge=0, le=10)] = 2
    """maxRetries of the Job."""


def by_name(items: list[Any]) -> dict[str, Any]:
    """Items of a list by name, for comparisons that ignore their order."""
    return {item.name: item for item in items}
