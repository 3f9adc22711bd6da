"""`down` on real mounts and processes (root)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen3_local.down import mounts_below, remove_tree
from qwen3_local.programs import run


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Something precious outside the state."""
    folder = tmp_path / "repository"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "work.py").write_text("precious")
    return folder


@pytest.fixture
def state(tmp_path: Path, repository: Path) -> Iterator[Path]:
    """A state folder with an image root that has the repository bound into it, twice over."""
    folder = tmp_path / "state"
    bound = folder / "roots" / "image" / "with space"
    bound.mkdir(parents=True)
    run(["mount", "-t", "tmpfs", "tmpfs", folder / "roots" / "image"])
    bound.mkdir()
    for _ in range(2):
        run(["mount", "--bind", repository, bound])
    yield folder
    for place in mounts_below(folder):
        run(["umount", place])


def test_removal_leaves_what_is_bound_into_the_state(state: Path, repository: Path) -> None:
    assert len(mounts_below(state)) == 3
    remove_tree(state)
    assert not state.exists()
    assert (repository / "inner" / "work.py").read_text() == "precious"


def test_neighbour_with_the_same_beginning_is_not_touched(state: Path, tmp_path: Path) -> None:
    neighbour = tmp_path / "state-of-others"
    neighbour.mkdir()
    run(["mount", "-t", "tmpfs", "tmpfs", neighbour])
    try:
        remove_tree(state)
        assert mounts_below(tmp_path) == [str(neighbour)]
    finally:
        run(["umount", neighbour])
