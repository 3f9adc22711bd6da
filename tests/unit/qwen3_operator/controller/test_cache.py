"""A resourceVersion never goes back, whatever the order of events, lists and own writes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_operator.controller.cache import Cache, is_stale
from qwen3_operator.resources.kinds import CONFIG_MAP, FINE_TUNE, JOB, KINDS, POD
from qwen3_operator.resources.labels import LABEL_FINE_TUNE, LABEL_POOL

NS = "team-a"


def job(
    version: int, name: str = "bot-1", owner: str = "bot", namespace: str = NS
) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "resourceVersion": str(version),
            "labels": {"qwen3.dev/managed": "true", LABEL_FINE_TUNE: owner},
        },
    }


def version_in(cache: Cache, name: str = "bot-1") -> str | None:
    found = cache.get(JOB, NS, name)
    return found and found["metadata"]["resourceVersion"]


def test_versions_are_compared_as_numbers() -> None:
    cache = Cache(KINDS)
    cache.put(job(10))
    assert not cache.put(job(9))
    assert version_in(cache) == "10"
    assert is_stale(cache, JOB, job(9))
    assert not is_stale(cache, JOB, job(10))


def test_own_write_is_not_undone_by_a_late_event() -> None:
    cache = Cache(KINDS)
    cache.put(job(5))
    assert cache.put(job(8)), "the answer to our write"
    assert not cache.put(job(6)), "an event from before it"
    assert version_in(cache) == "8"


def test_answer_to_a_write_that_a_deletion_overtook_does_not_bring_the_object_back() -> None:
    cache = Cache(KINDS)
    cache.put(job(5))
    assert cache.remove(job(9))
    assert not cache.put(job(8))
    assert version_in(cache) is None
    assert cache.put(job(12)), "a namesake created later"


def test_late_deletion_does_not_remove_a_namesake_created_since() -> None:
    cache = Cache(KINDS)
    cache.put(job(12))
    assert not cache.remove(job(9))
    assert version_in(cache) == "12"


def test_list_removes_what_vanished_but_nothing_newer_than_itself() -> None:
    cache = Cache(KINDS)
    cache.put(job(3, "gone"))
    cache.put(job(20, "newer-than-the-list"))
    cache.put(job(4, "kept"))
    cache.put(job(2, "elsewhere", namespace="team-b"))
    listed = [job(4, "kept"), job(9, "missed")]
    changed = [obj for obj in listed if cache.put(obj)]
    vanished = cache.prune(JOB, NS, listed, "10")
    assert [obj["metadata"]["name"] for obj in vanished] == ["gone"]
    assert [obj["metadata"]["name"] for obj in changed] == ["missed"]
    names = {obj["metadata"]["name"] for obj in cache.list(JOB)}
    assert names == {"newer-than-the-list", "kept", "missed", "elsewhere"}


def test_list_of_all_namespaces_removes_in_all() -> None:
    cache = Cache(KINDS)
    cache.put(job(3, namespace="team-b"))
    assert cache.prune(JOB, None, [], "10")
    assert cache.list(JOB) == []


def test_what_vanished_cannot_come_back_by_an_old_event() -> None:
    cache = Cache(KINDS)
    cache.put(job(3))
    cache.prune(JOB, None, [], "10")
    assert not cache.put(job(7))


def test_children_are_found_by_owner_and_follow_a_change_of_label() -> None:
    cache = Cache(KINDS)
    cache.put(job(1, "b"))
    cache.put(job(2, "a"))
    found = cache.by_owner(JOB, NS, LABEL_FINE_TUNE, "bot")
    assert [obj["metadata"]["name"] for obj in found] == ["a", "b"]
    cache.put(job(3, "a", owner="other"))
    assert [o["metadata"]["name"] for o in cache.by_owner(JOB, NS, LABEL_FINE_TUNE, "bot")] == ["b"]
    cache.remove(job(4, "b"))
    assert cache.by_owner(JOB, NS, LABEL_FINE_TUNE, "bot") == []
    assert cache.by_owner(JOB, "team-b", LABEL_FINE_TUNE, "other") == []
    assert cache.by_owner(POD, NS, LABEL_POOL, "pool") == []


def test_only_managed_children_are_kept() -> None:
    cache = Cache(KINDS)
    foreign = job(1)
    del foreign["metadata"]["labels"]["qwen3.dev/managed"]
    assert not cache.put(foreign)
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {}}
    assert not cache.put(lease)


def test_custom_resources_need_no_label() -> None:
    cache = Cache(KINDS)
    metadata = {"name": "bot", "namespace": NS, "resourceVersion": "1"}
    assert cache.put(
        {"apiVersion": "qwen3.dev/v1alpha1", "kind": "Qwen3FineTune", "metadata": metadata}
    )
    assert cache.get(FINE_TUNE, NS, "bot") is not None


def test_objects_are_trimmed() -> None:
    obj = job(1)
    obj["metadata"]["managedFields"] = [{"manager": "x"}]
    obj["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "mine": "1",
    }
    cache = Cache(KINDS)
    cache.put(obj)
    kept = cache.get(JOB, NS, "bot-1")
    assert kept is not None
    assert "managedFields" not in kept["metadata"]
    assert kept["metadata"]["annotations"] == {"mine": "1"}


def test_an_unknown_kind_is_a_bug() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        Cache(KINDS).put({"apiVersion": "v1", "kind": "Secret", "metadata": {}})


@given(st.permutations(range(1, 9)), st.integers(0, 8))
def test_any_order_of_delivery_ends_in_the_last_state(order: list[int], deleted_at: int) -> None:
    """Versions 1 to 8 of one object, one of them its deletion (0: none), in any order."""
    cache = Cache(KINDS)
    for version in order:
        if version == deleted_at:
            cache.remove(job(version))
        else:
            cache.put(job(version))
    expected = None if deleted_at == 8 else "8"
    assert version_in(cache) == expected
    assert len(cache.by_owner(JOB, NS, LABEL_FINE_TUNE, "bot")) == (0 if expected is None else 1)
    assert cache.by_owner(CONFIG_MAP, NS, LABEL_FINE_TUNE, "bot") == []
