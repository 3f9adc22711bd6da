"""Whom an evaluation asks: any endpoint, what serves, a candidate that nobody else can ask yet."""

import json
from dataclasses import replace
from typing import Any

import pytest

from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.evaluation.actions import EvalPlan
from qwen3_operator.evaluation.plan import EvalObserved, plan_evaluation
from qwen3_operator.finetune.plan import plan_finetune
from qwen3_operator.finetune.views import FineTune, Observed
from qwen3_operator.serving.views import PoolView
from qwen3_operator.settings import Settings
from support.evaluation_world import (
    BOT,
    QUESTIONS,
    SERVED,
    build_eval,
    env_of,
    holding_pod,
    order_of,
    plan,
    told,
)
from support.operator_world import (
    EVALUATION,
    MODEL,
    NOW,
    SETTINGS,
    build_alias,
    build_commit,
    build_evaluation,
    build_finetune,
    build_pool,
    build_pool_pod,
    build_spec,
    id_of,
    revision_of,
)

ENDPOINT: dict[str, Any] = {
    "url": "https://models.example.com/v1/",
    "model": "Qwen/Qwen3-32B",
    "secretRef": {"name": "models-key"},
}
OPEN = {"url": "http://vllm.models.svc:8000/v1", "model": "qwen3-8b"}
JUDGE = {
    "endpoints": [
        {
            "name": "strict",
            **ENDPOINT,
            "secretRef": {"name": "judge-key"},
            "promptPrice": "0.7",
            "completionPrice": "2.8e0",
        },
        {"name": "open", **OPEN},
    ],
    "rubric": "Is it polite?",
    "swapPositions": False,
    "maxRequests": 7,
}


def secret_of(found: EvalPlan) -> dict[str, tuple[str, str]]:
    """(Secret, key) by environment variable, of the keys of endpoints."""
    return {
        name: (source["secretKeyRef"]["name"], source["secretKeyRef"]["key"])
        for name, source in env_of(found).items()
        if name.startswith("API_KEY_")
    }


# --- endpoints


def test_any_endpoint_needs_no_fine_tune() -> None:
    ev = build_eval(target={"type": "Endpoint", "endpoint": ENDPOINT}, baselines=[])
    found = plan(ev, fine_tunes={})
    target = order_of(found).target
    assert target.base_url == "https://models.example.com/v1"
    assert (target.name, target.model) == ("target", "Qwen/Qwen3-32B")
    assert target.api_key_env == "API_KEY_TARGET"
    assert secret_of(found) == {"API_KEY_TARGET": ("models-key", "OPENAI_API_KEY")}
    assert found.status is not None
    assert found.status.resolved is not None
    assert found.status.resolved.to_wire() == {
        "endpoint": "https://models.example.com/v1",
        "targetModel": "Qwen/Qwen3-32B",
    }


def test_each_key_goes_to_its_own_endpoint() -> None:
    questions = QUESTIONS | {"metrics": ["JudgeScore"], "judge": JUDGE}
    found = plan(
        build_eval(
            baselines=[
                {"name": "base", "type": "BaseModel"},
                {"name": "open", "type": "Endpoint", "endpoint": OPEN},
                {"name": "big", "type": "Endpoint", "endpoint": ENDPOINT},
            ],
            suites=[
                {"name": "quiz", "questions": QUESTIONS},
                {"name": "manners", "questions": questions},
            ],
        )
    )
    order = order_of(found)
    assert [(b.name, b.api_key_env) for b in order.baselines] == [
        ("base", None),
        ("open", None),
        ("big", "API_KEY_BASELINE_2"),
    ]
    judge = order.suites[1].judge
    assert judge is not None
    assert [(e.name, e.base_url, e.api_key_env) for e in judge.endpoints] == [
        ("strict", "https://models.example.com/v1", "API_KEY_JUDGE_1_0"),
        ("open", "http://vllm.models.svc:8000/v1", None),
    ]
    assert secret_of(found) == {
        "API_KEY_BASELINE_2": ("models-key", "OPENAI_API_KEY"),
        "API_KEY_JUDGE_1_0": ("judge-key", "OPENAI_API_KEY"),
    }


def test_the_order_says_all_that_the_spec_says() -> None:
    metrics = ["ExactMatch", "JSONValid", "JudgeScore", "JudgeWin"]
    fields = [{"name": "a", "type": "List"}, {"name": "b", "type": "String", "required": False}]
    questions = QUESTIONS | {
        "metrics": metrics,
        "judge": JUDGE,
        "jsonSchema": "{}",
        "weave": {"scorers": ["ValidXMLScorer", "PydanticScorer"], "fields": fields},
        "limit": 9,
    }
    generation = {"temperature": "0.6", "samples": 4, "seed": 5, "thinking": True, "maxTokens": 7}
    bounds: list[dict[str, Any]] = [
        {"minimum": "0.6"},
        {"maximum": "2e-1", "confidencePercent": 90},
        {"maxRegression": "0", "baseline": "base"},
        {"minimumEffect": "0.05", "baseline": "base", "onInsufficient": "Fail"},
    ]
    gates = [
        {"name": f"g{n}", "suite": "quiz", "metric": "ExactMatch", **bound}
        for n, bound in enumerate(bounds)
    ]
    suite = {"name": "quiz", "questions": questions, "generation": generation}
    order = order_of(plan(build_eval(suites=[suite], gates=gates)))
    (asked,) = order.suites
    assert asked.model_dump(exclude={"data", "judge"}) == {
        "name": "quiz",
        "benchmark": None,
        "metrics": [*metrics, "ValidXMLScorer", "PydanticScorer"],
        "limit": 9,
        "max_tokens": 7,
        "temperature": 0.6,
        "thinking": True,
        "seed": 5,
        "samples": 4,
        "json_schema": "{}",
        "pydantic_fields": [
            {"name": "a", "type": "List", "required": True},
            {"name": "b", "type": "String", "required": False},
        ],
    }
    assert asked.judge is not None
    assert asked.judge.model_dump(exclude={"endpoints"}) == {
        "rubric": "Is it polite?",
        "swap_positions": False,
        "max_requests": 7,
        "prices": [{"prompt": 0.7, "completion": 2.8}, None],
        "max_cost": None,
    }
    assert [
        (g.minimum, g.maximum, g.max_regression, g.minimum_effect, g.baseline) for g in order.gates
    ] == [
        (0.6, None, None, None, None),
        (None, 0.2, None, None, None),
        (None, None, 0.0, None, "base"),
        (None, None, None, 0.05, "base"),
    ]
    assert [g.confidence for g in order.gates] == [0.95, 0.9, 0.95, 0.95]
    assert [g.fail_on_insufficient for g in order.gates] == [False, False, False, True]


def test_no_key_is_in_the_order() -> None:
    ev = build_eval(target={"type": "Endpoint", "endpoint": ENDPOINT}, baselines=[])
    config_map, job = plan(ev).apply
    assert "models-key" not in json.dumps(config_map)
    assert "models-key" in json.dumps(job)


# --- revisions

GATED = build_spec(evaluation=EVALUATION)
OLD, OLDER = "01d00001", "01d00000"


def candidate(incumbent: str | None = None) -> FineTune:
    """bot with a new revision that is loaded and waits for its evaluation."""
    ft = build_finetune(GATED)
    revisions = [revision_of(ft), *([incumbent] if incumbent else [])]
    observed = Observed(
        commit=build_commit(ft), verified=True, pool=build_pool(holding_pod(*revisions))
    )
    if incumbent is not None:
        commit = build_commit(ft, incumbent)
        observed = replace(observed, alias=build_alias(ft, commit))
    status = plan_finetune(ft, observed, SETTINGS, NOW).status
    assert status is not None
    older = [
        status.revisions[0].model_copy(
            update={"id": r, "adapter_digest": build_commit(ft, r).digest}
        )
        for r in (OLD, OLDER)
    ]
    known = [*status.revisions, *older]
    return build_finetune(GATED, status=status.model_copy(update={"revisions": known}))


NEW = revision_of(build_finetune(GATED))


def test_a_candidate_that_has_never_served_is_asked() -> None:
    """What promotion stands on: its public name isn't answered, and yet it is evaluated."""
    ft = candidate()
    served = {c.type: c.status for c in ft.status.conditions}["Served"]
    assert served == "False"
    ev = build_evaluation(ft, NEW, None)
    found = plan(ev, fine_tunes={"bot": ft}, pools={"bot": build_pool(holding_pod(NEW))})
    order = order_of(found)
    assert order.target.model == id_of(ft, build_commit(ft))
    assert order.target.base_url == "http://pool-qwen3-8b-abc123.team-a.svc.cluster.local/v1"
    assert [(b.name, b.model) for b in order.baselines] == [("base", MODEL)]
    assert [g.name for g in order.gates] == ["better"]
    assert found.status is not None
    assert found.status.resolved is not None
    assert found.status.resolved.target_revision == NEW


def test_candidate_and_incumbent_are_asked_by_their_ids() -> None:
    ft = candidate(OLD)
    ev = build_evaluation(ft, NEW, OLD)
    found = plan(ev, fine_tunes={"bot": ft}, pools={"bot": build_pool(holding_pod(NEW, OLD))})
    order = order_of(found)
    assert order.target.model == id_of(ft, build_commit(ft, NEW))
    assert [(b.name, b.model) for b in order.baselines] == [
        ("base", MODEL),
        ("incumbent", id_of(ft, build_commit(ft, OLD))),
    ]
    assert [g.baseline for g in order.gates] == ["base", "incumbent"]


def test_a_replaced_revision_is_asked_while_the_pool_keeps_it() -> None:
    ft = candidate(OLD)
    ev = build_eval(target={"fineTune": {"name": "bot", "revision": OLDER}})
    kept = plan(ev, fine_tunes={"bot": ft}, pools={"bot": build_pool(holding_pod(NEW, OLD, OLDER))})
    assert order_of(kept).target.model == id_of(ft, build_commit(ft, OLDER))
    gone = plan(ev, fine_tunes={"bot": ft}, pools={"bot": build_pool(holding_pod(NEW, OLD))})
    assert told(gone)["Ready"] == ("False", "TargetNotReady")


NO_GPU = FailureStatus.of("Unschedulable", "0/3 nodes are available")


@pytest.mark.parametrize(
    ("revision", "pool", "message"),
    [
        pytest.param(
            NEW,
            build_pool(holding_pod(NEW), holding_pod(name="server-1")),
            f"revision {NEW} of bot is loaded on 1 of 2 ready pods of its pool",
            id="half loaded",
        ),
        pytest.param(
            NEW,
            build_pool(holding_pod(NEW, ready=False)),
            f"revision {NEW} of bot can't be queried: no pod of its pool is ready",
            id="nobody answers",
        ),
        pytest.param(
            NEW,
            build_pool(trouble=NO_GPU),
            f"revision {NEW} of bot can't be queried: no pod of its pool is ready: "
            "0/3 nodes are available",
            id="no pod at all",
        ),
        pytest.param(
            NEW,
            build_pool(build_pool_pod(silent=True)),
            f"revision {NEW} of bot is loaded on 0 of 1 ready pods of its pool",
            id="a silent sidecar",
        ),
        pytest.param(
            NEW,
            None,
            f"revision {NEW} of bot can't be queried: no pod of its pool is ready",
            id="no pool",
        ),
        pytest.param(
            "ffffffff",
            build_pool(holding_pod(NEW)),
            "bot has no stored revision ffffffff",
            id="unknown",
        ),
    ],
)
def test_a_revision_that_is_not_loaded_is_waited_for(
    revision: str, pool: PoolView | None, message: str
) -> None:
    ev = build_eval(target={"fineTune": {"name": "bot", "revision": revision}})
    pools = {"bot": pool} if pool is not None else {}
    found = plan(ev, fine_tunes={"bot": candidate(OLD)}, pools=pools)
    assert found.apply == ()
    assert found.requeue_after is not None
    assert found.status is not None
    assert (found.status.stage, found.status.conditions[0].message) == ("TargetNotReady", message)


def test_an_incumbent_that_is_not_loaded_is_waited_for() -> None:
    ft = candidate(OLD)
    ev = build_evaluation(ft, NEW, OLD)
    found = plan(ev, fine_tunes={"bot": ft}, pools={"bot": build_pool(holding_pod(NEW))})
    assert told(found)["Ready"] == ("False", "TargetNotReady")
    assert found.apply == ()


def test_what_isn_t_served_by_its_spec_says_so() -> None:
    ft = build_finetune(build_spec(serving={"mode": "None"}))
    found = plan(fine_tunes={"bot": ft})
    assert found.status is not None
    assert "spec.serving.mode is None" in found.status.conditions[0].message


def test_without_a_revision_it_asks_what_has_the_name() -> None:
    """A loaded candidate beside it changes nothing."""
    found = plan(pools={"bot": build_pool(holding_pod(NEW))})
    assert order_of(found).target.model == BOT.status.serving.model_id  # type: ignore[union-attr]


def test_the_cluster_s_domain_is_the_platform_s() -> None:
    settings = Settings.model_validate({**SETTINGS.model_dump(), "cluster_domain": "corp.local"})
    ev = build_eval(target={"fineTune": {"name": "bot", "revision": NEW}})
    world = EvalObserved(SERVED | {"bot": candidate()}, {"bot": build_pool(holding_pod(NEW))})
    found = plan_evaluation(ev, world, settings, NOW)
    assert order_of(found).target.base_url.endswith(".team-a.svc.corp.local/v1")
