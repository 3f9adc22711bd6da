"""The index of references: right after any sequence of changes, and an event costs the same in any
crowd."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_operator.controller.cache import Cache
from qwen3_operator.controller.keys import Key
from qwen3_operator.resource_index import ResourceIndex
from qwen3_operator.resources.keys import EVAL, FINE_TUNE, POOL
from qwen3_operator.resources.kinds import FINE_TUNE as FINE_TUNES
from qwen3_operator.resources.kinds import KINDS
from support.evaluation_world import SPEC as EVALUATION
from support.operator_simulator import World
from support.operator_world import NAMESPACE, SETTINGS, build_body, build_spec
from support.simulated_operator import Operator

VERSIONS = itertools.count(1)


def finetune(name: str, **changes: Any) -> dict[str, Any]:
    body = build_body(build_spec(**changes), name=name, uid=f"uid-{name}")
    body["metadata"]["resourceVersion"] = str(next(VERSIONS))
    return body


def evaluation(name: str, target: str) -> dict[str, Any]:
    spec = {**EVALUATION, "target": {"fineTune": {"name": target}}}
    body = build_body(spec, name=name, uid=f"uid-{name}")
    body["kind"] = "Qwen3Eval"
    body["metadata"]["resourceVersion"] = str(next(VERSIONS))
    return body


SHAPES: dict[str, dict[str, Any]] = {
    "served": {},
    "named": {"serving": {"modelName": "helper"}},
    "unserved": {"serving": {"mode": "None"}},
    "elsewhere": {"baseModel": {"name": "Qwen/Qwen3-0.6B"}},
    "unreadable": {"adapter": {"rank": 7}},
}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([*SHAPES, "deleted"]))))
def test_it_is_what_the_cache_says(changes: list[tuple[str, str]]) -> None:
    """After any changes it equals an index that is made of the cache afresh."""
    cache = Cache(KINDS)
    index = ResourceIndex(cache, SETTINGS)
    for name, shape in changes:
        if shape == "deleted":
            cache.remove(finetune(name))
        else:
            cache.put(finetune(name, **SHAPES[shape]))
    fresh = ResourceIndex(cache, SETTINGS)
    names = {body["metadata"]["name"] for body in cache.list(FINE_TUNES)}
    assert {n for n in "abc" if index.finetune(NAMESPACE, n) is not None} == names
    for name in names:
        ft = fresh.finetune(NAMESPACE, name)
        assert index.finetune(NAMESPACE, name) == ft
        pool, alias = getattr(ft, "pool", ""), getattr(ft, "alias", "")
        assert index.members(NAMESPACE, pool) == fresh.members(NAMESPACE, pool)
        assert index.claimants(NAMESPACE, alias) == fresh.claimants(NAMESPACE, alias)


def crowd(world: World, size: int) -> Operator:
    """`size` fine-tunes with an evaluation each, all in one namespace, one fine-tune a pool."""
    operator = Operator(world)
    for number in range(size):
        bucket = {"s3": {"bucket": f"bucket-{number}"}}
        operator.cache.put(finetune(f"bot-{number}", artifacts=bucket))
        operator.cache.put(evaluation(f"quiz-{number}", f"bot-{number}"))
    return operator


class Counted(dict[Any, Any]):
    """Counts the look-ups and walks of a dict."""

    touched = 0

    def __getitem__(self, key: Any) -> Any:
        Counted.touched += 1
        return super().__getitem__(key)

    def values(self) -> Any:
        Counted.touched += len(self)
        return super().values()

    def items(self) -> Any:
        Counted.touched += len(self)
        return super().items()


def cost(operator: Operator, body: dict[str, Any]) -> tuple[int, int, set[Key]]:
    """Objects parsed, entries of the cache touched, and keys found for one event."""
    index = operator.context.index
    objects = operator.cache._objects[FINE_TUNES]
    for namespace in list(objects):
        objects[namespace] = Counted(objects[namespace])
    before, Counted.touched = index.parsed, 0
    operator.cache.put(body)
    found = set(operator.reconcilers.keys_for(body))
    return index.parsed - before, Counted.touched, found


@pytest.mark.parametrize("event", ["fine-tune", "evaluation"])
def test_an_event_costs_the_same_in_any_crowd(event: str) -> None:
    found = []
    for size in (10, 1000):
        operator = crowd(World(None), size)  # type: ignore[arg-type]
        body = (
            finetune("bot-3", artifacts={"s3": {"bucket": "bucket-3"}}, suspend=True)
            if event == "fine-tune"
            else evaluation("quiz-3", "bot-3")
        )
        found.append(cost(operator, body))
    (parsed, touched, keys), large = found
    assert (parsed, touched, keys) == large
    assert parsed == 1
    if event == "fine-tune":
        assert Key(EVAL, NAMESPACE, "quiz-3") in keys
        assert {key.kind for key in keys} == {FINE_TUNE, POOL, EVAL}
