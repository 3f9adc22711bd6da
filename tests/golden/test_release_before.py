"""An upgrade restarts nothing that runs: for equal input, this tree's Jobs and pools have the pod
templates of the release before."""

import subprocess
from pathlib import Path

import pytest

from support.release_before import HistoryMissingError, extract_commit, read_record
from support.running_pods import digest_pods, digest_tree

RECORD = read_record()


def test_jobs_and_pools_are_those_of_the_release_before() -> None:
    today, before = digest_tree(), RECORD["digests"]
    changed = {
        case: sorted(o for o in objects if today.get(case, {}).get(o) != objects[o])
        for case, objects in before.items()
        if today.get(case) != objects
    }
    assert not changed, (
        f"an upgrade from {RECORD['commit'][:7]} restarts these pods. Where that is meant, say so "
        "in the changelog and pin this commit by `python tests/support/release_before.py`"
    )


def test_the_record_speaks_of_every_kind_of_pod() -> None:
    objects = {o for objects in RECORD["digests"].values() for o in objects}
    assert {name.split("/")[0] for name in objects} == {"Job", "Deployment", "ConfigMap"}
    # A preflight, a training, an export, an evaluation.
    assert RECORD["digests"].keys() >= {
        "01-created",
        "24-preflight-passed",
        "39-export-begins",
        "evaluations/01-endpoint-and-judges",
        "pools/plain",
    }


@pytest.mark.parametrize("kind", ["Job", "Deployment"])
def test_only_what_a_pod_is_made_from_counts(kind: str) -> None:
    def digest(image: str, replicas: int) -> dict[str, str]:
        template = {"spec": {"containers": [{"image": image}]}}
        spec = {"replicas": replicas, "selector": {}, "template": template}
        return digest_pods([{"kind": kind, "metadata": {"name": "x"}, "spec": spec}])

    assert digest("a", 1) == digest("a", 2)
    assert digest("a", 1) != digest("b", 1)


def test_a_shallow_clone_is_told_what_to_do(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    with pytest.raises(HistoryMissingError, match="fetch --unshallow"):
        extract_commit(RECORD["commit"], tmp_path / "tree", tmp_path)
