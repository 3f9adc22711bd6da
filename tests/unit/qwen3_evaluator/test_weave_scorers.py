"""Scores by real classes of weave.scorers, from the real process."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import pytest

from qwen3_api.job.evaluate import EvalSample, EvalSuite, PydanticField
from qwen3_api.metrics import OF_WEAVE
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1 import weave_scorers
from qwen3_api.v1alpha1.weave_scorers import REFUSED, SCORERS
from qwen3_evaluator.metrics import Scorer
from qwen3_evaluator.questions import Question
from qwen3_evaluator.report import collect_versions
from qwen3_evaluator.weave_scorers import WeaveScorers
from qwen3_evaluator.weave_wire import to_score
from support.eval_reports import build_job

SUPPORT = Path(__file__).parents[2] / "support"
FIELDS: list[dict[str, Any]] = [
    {"name": "订单", "type": "Integer"},
    # Names that pydantic's own models have, or that Python can't.
    {"name": "json", "type": "String"},
    {"name": "model_fields", "type": "Boolean"},
    {"name": "is-late", "type": "Number", "required": False},
    {"name": "items", "type": "List", "required": False},
    {"name": "address", "type": "Object", "required": False},
]
WHOLE = {"订单": 7, "json": "x", "model_fields": True}
AUDIT = """
import sys

# urllib3's import binds a socket to ::1 to see whether there is IPv6; that tells nobody anything.
QUIET = ("socket.__new__", "socket.bind")

def note(event, _):
    if event.startswith("socket.") and event not in QUIET:
        with open({file!r}, "a") as file:
            file.write(event + "\\n")

sys.addaudithook(note)
"""


def suite(*metrics: str, fields: list[dict[str, Any]] | None = None) -> EvalSuite:
    return EvalSuite.model_validate(
        {
            "name": "orders",
            "data": {"type": "File", "path": "/d", "source": "ConfigMap d"},
            "metrics": metrics,
            "limit": None,
            "max_tokens": 9,
            "temperature": 0,
            "thinking": False,
            "seed": 1,
            "pydantic_fields": fields or [],
        }
    )


def sample(answer: str, expected: str = "The blue boat.", **more: Any) -> EvalSample:
    return EvalSample.model_validate(
        {
            "suite": "orders",
            "model": "target",
            "line": 3,
            "category": None,
            "question": "?",
            "expected": expected,
            "answer": answer,
            "loss": None,
            "answer_tokens": None,
            **more,
        }
    )


async def score(asked: EvalSuite, *samples: EvalSample) -> list[dict[str, float]]:
    async with WeaveScorers() as scorers:
        return [dict((await scorers.score(asked, each)).scores) for each in samples]


async def test_each_class_says_what_it_says() -> None:
    """One answer that is right for each, and one that no class takes."""
    asked = suite(*OF_WEAVE, fields=FIELDS)
    json_answer, xml, blue, wrong = await score(
        asked,
        sample(json.dumps(WHOLE)),
        sample("<order id='7'><item/></order>"),
        sample("BLUE"),
        sample("{'order': 7"),
    )
    assert json_answer == {
        "ValidJSONScorer": 1.0,
        "ValidXMLScorer": 0.0,
        "PydanticScorer": 1.0,
        "StringMatchScorer": 0.0,
    }
    assert xml == dict.fromkeys(OF_WEAVE, 0.0) | {"ValidXMLScorer": 1.0}
    assert blue == dict.fromkeys(OF_WEAVE, 0.0) | {"StringMatchScorer": 1.0}
    assert wrong == dict.fromkeys(OF_WEAVE, 0.0)


async def test_fields_make_the_model_of_pydantic_scorer() -> None:
    answers: list[tuple[dict[str, Any], float]] = [
        (WHOLE, 1),
        (WHOLE | {"more": 1}, 1),  # other fields are ignored
        (WHOLE | {"订单": "7"}, 1),  # pydantic reads numbers in text
        (WHOLE | {"is-late": None}, 1),
        (WHOLE | {"is-late": 0.5, "items": [1, "a"], "address": {"a": {}}}, 1),
        ({"订单": 7, "json": "x"}, 0),
        (WHOLE | {"订单": 7.5}, 0),
        (WHOLE | {"json": 1}, 0),
        (WHOLE | {"json": None}, 0),
        (WHOLE | {"model_fields": "maybe"}, 0),
        (WHOLE | {"is-late": "soon"}, 0),
        (WHOLE | {"items": "a"}, 0),
        (WHOLE | {"address": []}, 0),
    ]
    asked = suite("PydanticScorer", fields=FIELDS)
    found = await score(asked, *(sample(json.dumps(answer)) for answer, _ in answers))
    assert found == [{"PydanticScorer": float(right)} for _, right in answers]


async def test_a_blank_answer_is_no_match() -> None:
    """To Weave "" is in every text: a model that says nothing would be the best."""
    found = await score(suite("StringMatchScorer"), sample(""), sample(" \n"), sample("boat"))
    assert [each["StringMatchScorer"] for each in found] == [0.0, 0.0, 1.0]


async def test_suites_keep_their_own_fields() -> None:
    async with WeaveScorers() as scorers:
        for kind, right in (("Integer", 0.0), ("String", 1.0), ("Integer", 0.0)):
            asked = suite("PydanticScorer", fields=[{"name": "a", "type": kind}])
            found = await scorers.score(asked, sample('{"a": "b"}'))
            assert found.scores == {"PydanticScorer": right}


async def test_the_answer_is_scored_without_the_thinking_and_beside_other_scores() -> None:
    asked = suite("ExactMatch", "ValidJSONScorer")
    thought = sample("[1]", reasoning="hm, not JSON", scores={"ExactMatch": 0.0})
    assert await score(asked, thought) == [{"ExactMatch": 0.0, "ValidJSONScorer": 1.0}]


@pytest.mark.parametrize("answer", ["[" * 100_000, "9" * 5000], ids=["nested", "digits"])
async def test_a_scorer_that_fails_is_told_and_no_score(answer: str) -> None:
    with pytest.raises(
        FailureError,
        match=r"suite orders, line 3, model target: ValidJSONScorer of weave\.scorers failed: \w+E",
    ) as caught:
        await score(suite("ValidJSONScorer"), sample(answer))
    # The answer is kept, so another attempt would end the same way.
    assert (caught.value.failure.reason, caught.value.exit_code) == ("EvaluatorFailed", 42)
    assert "questions.weave.scorers" in caught.value.failure.hint


@pytest.mark.parametrize(
    ("said", "right"), [({"a": True}, 1.0), ({"a": False}, 0.0), ({"a": 0.25}, 0.25), ({"a": 1}, 1)]
)
def test_booleans_and_shares_are_scores(said: object, right: float) -> None:
    assert to_score(said) == right


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"a": None},
        {"a": 2},
        {"a": -1},
        {"a": float("nan")},
        {"a": "yes"},
        {"a": True, "b": True},
        True,
        None,
    ],
    ids=str,
)
def test_anything_else_is_none(said: object) -> None:
    with pytest.raises(TypeError, match="neither one boolean nor one number from 0 to 1"):
        to_score(said)


async def test_without_scorers_no_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert await score(suite("ExactMatch"), sample("x", scores={"ExactMatch": 1.0})) == [
        {"ExactMatch": 1.0}
    ]


async def test_a_process_that_ends_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weave.py").write_text("raise MemoryError('too little')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(FailureError, match=r"scorers' process ended with 1: .*too little") as got:
        await score(suite("ValidXMLScorer"), sample("<a/>"))
    assert (got.value.failure.reason, got.value.exit_code) == ("EvaluatorFailed", 1)


async def test_nobody_is_asked_or_told_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a name is looked up, whatever the environment says about Weave."""
    file = tmp_path / "sockets"
    (tmp_path / "sitecustomize.py").write_text(AUDIT.format(file=str(file)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123456789abcdef01234567")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    look_up = "import socket; socket.getaddrinfo('localhost', 1)"
    subprocess.run([sys.executable, "-c", look_up], check=True)  # noqa: ASYNC221
    assert file.read_text() == "socket.getaddrinfo\n", "the hook sees it"
    file.unlink()
    (found,) = await score(suite(*OF_WEAVE, fields=FIELDS), sample(json.dumps(WHOLE)))
    assert found["PydanticScorer"] == 1.0
    assert not file.exists()


@pytest.fixture(scope="module")
def probe() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(SUPPORT / "weave_probe.py")],
        env=os.environ | {"WANDB_ERROR_REPORTING": "false"},
        capture_output=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_no_op_is_called(probe: dict[str, Any]) -> None:
    """An op is what Weave would trace."""
    by_op, by_us = probe["traced"]
    assert by_op > 0, "the probe sees an op that is called"
    assert by_us == 0


def test_every_class_of_weave_is_run_or_refused_with_a_reason(probe: dict[str, Any]) -> None:
    # Weave has it in a module of its own, for its import needs boto3.
    assert {*SCORERS, *REFUSED} == {*probe["all"], "BedrockGuardrailScorer"}


@pytest.mark.parametrize("name", [*REFUSED, "weave:///a/b/object/c:d", "Polite"])
def test_what_is_refused_gets_one_reason(name: str) -> None:
    spec = weave_scorers.WeaveScorers.model_construct(scorers=[name], fields=None)
    assert [rule.field_path for rule in spec.rules if not rule.check(spec)] == [".scorers"]


def test_types_of_fields_are_those_of_the_api() -> None:
    kinds = get_args(PydanticField.model_fields["type"].annotation)
    assert set(kinds) == {kind.value for kind in weave_scorers.FieldType}


def test_they_are_not_scored_elsewhere() -> None:
    assert Scorer(suite(*OF_WEAVE)).score(Question(1, "q", "5"), "5") == {}


def test_the_report_names_the_version_where_it_matters() -> None:
    job = build_job()
    assert "weave" not in collect_versions(job)
    with_weave = job.model_copy(update={"suites": [suite("ValidJSONScorer")]})
    assert collect_versions(with_weave)["weave"] == version("weave")
