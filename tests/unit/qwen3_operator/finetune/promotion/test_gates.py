"""Who gets a public name: evaluation, gates, approval, force, rollback, and the record of it."""

from typing import Any

import pytest

from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus
from qwen3_api.v1alpha1.promotion import EvaluationStatus, HistoryEntry, Move
from qwen3_operator.evaluation.views import Evaluation
from qwen3_operator.finetune.promotion.evaluation import evaluation_name, resolve_evaluation
from qwen3_operator.finetune.promotion.gates import (
    HISTORY,
    Admission,
    build_history,
    expected_evaluation,
    is_unloaded,
    plan_admission,
)
from qwen3_operator.finetune.promotion.plan import plan_serving
from qwen3_operator.finetune.views import FineTune, Observed
from support.operator_world import (
    EVALUATION,
    NOW,
    SETTINGS,
    build_alias,
    build_commit,
    build_current,
    build_evaluation,
    build_finetune,
    build_pool,
    build_pool_pod,
    build_spec,
    id_of,
    revision_of,
    spec_of,
)

INCUMBENT = "0123abcd"
REVISION = revision_of(build_finetune())


def build(promotion: dict[str, Any] | None = None, *, asked: bool = True) -> FineTune:
    changes: dict[str, Any] = {"promotion": promotion or {}}
    return build_finetune(build_spec(**changes, **({"evaluation": EVALUATION} if asked else {})))


def admit(
    ft: FineTune, verdict: str | None = None, incumbent: str | None = INCUMBENT, **status: Any
) -> Admission:
    """What is decided with an evaluation of that verdict."""
    found = None
    if verdict is not None:
        wire = status if verdict == "Running" else {"verdict": verdict, **status}
        found = build_evaluation(ft, REVISION, incumbent, wire)
    return plan_admission(ft, incumbent, found)


FORCE = {"force": {"revision": REVISION, "reason": "ticket 4711 of the platform team"}}
OTHER_FORCE = {"force": {"revision": "99999999", "reason": "ticket 4711 of the platform team"}}
MANUAL = {"strategy": "Manual"}
APPROVED = {"strategy": "Manual", "approvedRevision": REVISION}
OTHER_APPROVED = {"strategy": "Manual", "approvedRevision": "99999999"}
BACK = {"rollbackTo": INCUMBENT}


@pytest.mark.parametrize(
    ("promotion", "verdict", "move", "reason"),
    [
        ({}, None, None, Reason.EVALUATING),
        ({}, "Running", None, Reason.EVALUATING),
        ({}, "Passed", Move.PROMOTED, Reason.PROMOTING),
        ({}, "Completed", Move.PROMOTED, Reason.PROMOTING),
        ({}, "Failed", None, Reason.GATE_FAILED),
        ({}, "Inconclusive", None, Reason.GATE_INCONCLUSIVE),
        ({}, "Error", None, Reason.EVALUATION_FAILED),
        (MANUAL, None, None, Reason.EVALUATING),
        (MANUAL, "Passed", None, Reason.AWAITING_APPROVAL),
        (OTHER_APPROVED, "Passed", None, Reason.AWAITING_APPROVAL),
        (APPROVED, "Passed", Move.PROMOTED, Reason.PROMOTING),
        (APPROVED, "Failed", None, Reason.GATE_FAILED),
        (FORCE, None, Move.FORCED, Reason.PROMOTING),
        (FORCE, "Failed", Move.FORCED, Reason.PROMOTING),
        (OTHER_FORCE, "Failed", None, Reason.GATE_FAILED),
        (BACK, "Failed", Move.ROLLED_BACK, Reason.PROMOTING),
        (BACK, None, Move.ROLLED_BACK, Reason.PROMOTING),
    ],
)
def test_admission(
    promotion: dict[str, Any], verdict: str | None, move: Move | None, reason: Reason
) -> None:
    found = admit(build(promotion), verdict)
    assert (found.move, found.reason) == (move, reason)
    refused = reason in (Reason.GATE_FAILED, Reason.GATE_INCONCLUSIVE, Reason.EVALUATION_FAILED)
    assert (found.problem is not None) is refused
    assert found.by_person is (reason is Reason.AWAITING_APPROVAL)
    assert bool(found.apply) is (verdict is None and reason is Reason.EVALUATING)


@pytest.mark.parametrize(
    ("promotion", "move"), [({}, Move.PROMOTED), (MANUAL, None), (APPROVED, Move.PROMOTED)]
)
def test_without_an_evaluation(promotion: dict[str, Any], move: Move | None) -> None:
    found = admit(build(promotion, asked=False))
    assert found.move is move
    assert found.evaluation is None
    assert not found.apply


def test_a_refusal_names_the_gates_that_did_not_pass() -> None:
    gates = [
        {"name": "better", "verdict": "Passed", "message": "fine"},
        {"name": "no-worse", "verdict": "Failed", "message": "worse by 0.30"},
    ]
    found = admit(build(), "Failed", gates=gates)
    assert found.problem is not None
    assert "no-worse: worse by 0.30" in found.problem.message
    assert "better" not in found.problem.message
    assert "spec.promotion.force" in found.problem.hint


@pytest.mark.parametrize(
    ("on_failure", "verdict", "unloaded"),
    [
        ("KeepIncumbent", "Failed", True),
        ("Hold", "Failed", False),
        ("KeepIncumbent", "Passed", False),
        ("KeepIncumbent", "Running", False),
    ],
)
def test_a_refused_candidate_gives_its_place_back(
    on_failure: str, verdict: str, unloaded: bool
) -> None:
    ft = build({"onFailure": on_failure})
    assert is_unloaded(admit(ft, verdict), spec_of(ft), None) is unloaded


# --- which evaluation decides


def test_the_evaluation_pins_both_revisions() -> None:
    ft = build()
    spec = spec_of(ft)
    assert spec.evaluation is not None
    wanted = resolve_evaluation(ft.meta, spec, spec.evaluation, REVISION, INCUMBENT)
    assert wanted.target.fine_tune is not None
    assert wanted.target.fine_tune.revision == REVISION
    named = {b.name: b.fine_tune.revision if b.fine_tune else None for b in wanted.baselines}
    assert named == {"base": None, "incumbent": INCUMBENT}


def test_the_first_revision_has_no_incumbent_to_beat() -> None:
    ft = build()
    spec = spec_of(ft)
    assert spec.evaluation is not None
    wanted = resolve_evaluation(ft.meta, spec, spec.evaluation, REVISION, None)
    assert [g.name for g in wanted.gates] == ["better"]
    assert [b.name for b in wanted.baselines] == ["base"]


@pytest.mark.parametrize("name", ["bot", "a-very-long-name-of-forty-characters-aaaa"])
def test_another_question_is_another_evaluation(name: str) -> None:
    ft = build_finetune(build_spec(evaluation=EVALUATION), name=name)
    gates = [{**EVALUATION["gates"][0], "minimumEffect": "0.2"}]
    edited = build_finetune(build_spec(evaluation={**EVALUATION, "gates": gates}), name=name)
    seed = build_spec(evaluation=EVALUATION, hyperparameters={"seed": 1})
    retrained = build_finetune(seed, name=name)
    names = [
        expected_evaluation(ft, INCUMBENT),
        expected_evaluation(ft, "99999999"),
        expected_evaluation(retrained, INCUMBENT),
        expected_evaluation(edited, INCUMBENT),
    ]
    assert len(set(names)) == len(names)
    assert all(found is not None and len(found) <= 40 for found in names)
    again = build_finetune(build_spec(evaluation=EVALUATION), name=name)
    assert expected_evaluation(again, INCUMBENT) == names[0]


def test_namesakes_of_two_objects_do_not_share_an_evaluation() -> None:
    first = build()
    second = build_finetune(build_spec(evaluation=EVALUATION), uid="uid-second")
    wanted = [
        resolve_evaluation(ft.meta, spec_of(ft), evaluation, REVISION, None)
        for ft in (first, second)
        if (evaluation := spec_of(ft).evaluation) is not None
    ]
    assert evaluation_name(first.meta, wanted[0], REVISION) != evaluation_name(
        second.meta, wanted[1], REVISION
    )


def test_an_edit_of_gates_or_promotion_trains_nothing() -> None:
    assert revision_of(build(MANUAL)) == revision_of(build_finetune()) == REVISION


# --- on the pool

NEW = build_commit(build_finetune())
OLD = build_commit(build_finetune(), INCUMBENT)


def serve(ft: FineTune, evaluation: Evaluation | None = None, **observed: Any) -> Any:
    """Both revisions are loaded, the name means the old one."""
    ids = {id_of(ft, NEW): NEW.digest, id_of(ft, OLD): OLD.digest}
    pod = build_pool_pod(loaded=ids, aliases={"team-a.bot": id_of(ft, OLD)})
    world: dict[str, Any] = {
        "commit": NEW,
        "verified": True,
        "alias": build_alias(ft, OLD),
        "pool": build_pool(pod),
        "evaluation": evaluation,
    }
    return plan_serving(ft, Observed(**(world | observed)), SETTINGS, NOW)


def test_nothing_is_asked_before_every_pod_has_it() -> None:
    ft = build()
    pod = build_pool_pod(
        loaded={id_of(ft, OLD): OLD.digest}, aliases={"team-a.bot": id_of(ft, OLD)}
    )
    found = serve(ft, pool=build_pool(pod))
    assert found.reason is Reason.LOADING
    assert not found.apply
    assert [m["kind"] for m in serve(ft).apply] == ["Qwen3Eval"]


def test_a_failed_gate_leaves_the_incumbent_serving() -> None:
    ft = build()
    found = serve(ft, build_evaluation(ft, REVISION, INCUMBENT, {"verdict": "Failed"}))
    assert found.promote is None
    assert found.problem is not None
    assert found.served
    assert found.status.revision == INCUMBENT
    assert found.status.candidate_id is None
    held = build({"onFailure": "Hold"})
    kept = serve(held, build_evaluation(held, REVISION, INCUMBENT, {"verdict": "Failed"}))
    assert kept.status.candidate_id == id_of(held, NEW)


def test_the_pointer_says_why_it_moved() -> None:
    ft = build()
    found = serve(ft, build_evaluation(ft, REVISION, INCUMBENT, {"verdict": "Passed"}))
    pointer = found.promote.alias
    assert (pointer.move, pointer.revision) == ("Promoted", REVISION)
    assert pointer.eval_name == expected_evaluation(ft, INCUMBENT)
    forced = serve(build(FORCE)).promote.alias
    assert (forced.move, forced.message) == ("Forced", FORCE["force"]["reason"])
    assert forced.eval_name is None, "nobody was asked"


def test_a_rollback_moves_back_and_stays() -> None:
    ft = build(BACK)
    new = build_alias(ft, NEW)
    ids = {id_of(ft, NEW): NEW.digest, id_of(ft, OLD): OLD.digest}
    pod = build_pool_pod(loaded=ids, aliases={"team-a.bot": id_of(ft, NEW)})
    moved = serve(ft, alias=new, pool=build_pool(pod), rollback=OLD)
    assert moved.promote is not None
    assert (moved.promote.alias.revision, moved.promote.alias.move) == (INCUMBENT, "RolledBack")
    stays = serve(ft, rollback=OLD)
    assert (stays.ready, stays.reason, stays.promote) == (True, Reason.ROLLED_BACK, None)


def test_a_rollback_to_nothing_moves_nothing() -> None:
    problem = FailureStatus.of(Reason.ROLLBACK_UNKNOWN, "there is none")
    found = serve(build(BACK), rollback=problem)
    assert found.problem is problem
    assert found.promote is None
    assert found.served
    unknown = serve(build({"rollbackTo": "99999999"}), rollback=None)
    assert unknown.promote is None, "what wasn't looked for isn't taken from the spec's revision"


# --- the record


def test_moves_are_told_once_and_from_the_pointer() -> None:
    ft = build()
    current = build_current(ft, OLD)
    first = build_history(FineTuneStatus(), current, None, NOW)
    assert [(e.action, e.revision) for e in first] == [(Move.PROMOTED, INCUMBENT)]
    again = build_history(FineTuneStatus(history=first), current, None, NOW)
    assert again == first
    back = replace_move(current, "RolledBack", "2026-03-01T12:05:00Z")
    assert [e.action for e in build_history(FineTuneStatus(history=first), back, None, NOW)] == [
        Move.ROLLED_BACK,
        Move.PROMOTED,
    ]


def replace_move(current: Any, move: str, promoted: str) -> Any:
    return current.model_copy(update={"move": move, "promoted": promoted})


def test_a_refusal_is_told_once_per_evaluation() -> None:
    refused = EvaluationStatus(eval_name="bot-x", revision=REVISION, verdict="Failed", message="m")
    first = build_history(FineTuneStatus(), None, refused, NOW)
    assert [(e.action, e.eval_name) for e in first] == [(Move.REFUSED, "bot-x")]
    assert build_history(FineTuneStatus(history=first), None, refused, NOW) == first
    other = refused.model_copy(update={"eval_name": "bot-y"})
    assert len(build_history(FineTuneStatus(history=first), None, other, NOW)) == 2


def test_the_history_is_bounded() -> None:
    entries = [
        HistoryEntry(time="2026-03-01T12:00:00Z", action=Move.PROMOTED, revision=f"{n:08x}")
        for n in range(HISTORY)
    ]
    found = build_history(FineTuneStatus(history=entries), build_current(build(), OLD), None, NOW)
    assert len(found) == HISTORY
    assert found[0].revision == INCUMBENT
