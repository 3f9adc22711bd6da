"""The release before this one: its commit, its tree, and what its pods are made from.

`golden/release_before.json` pins the commit and the digests of its Jobs and pools. After a release,
move it on: `python tests/support/release_before.py <commit of that release>`.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "tests" / "golden" / "release_before.json"


class HistoryMissingError(Exception):
    """The clone doesn't have the commit."""


def read_record() -> dict[str, Any]:
    """`commit`, and `digests` by case and object."""
    return dict(json.loads(RECORD.read_text()))


def extract_commit(commit: str, folder: Path, repository: Path = ROOT) -> Path:
    """The files of a commit, without git's.

    Raises:
        HistoryMissingError: the history of the clone ends before it.
    """
    done = subprocess.run(
        ["git", "-C", str(repository), "archive", commit], capture_output=True, check=False
    )
    if done.returncode != 0:
        raise HistoryMissingError(
            f"the release before, {commit}, isn't in this clone; `git fetch --unshallow` (in CI: "
            f"check out with the full history) brings it: {done.stderr.decode().strip()}"
        )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def digest_commit(commit: str) -> dict[str, dict[str, str]]:
    """The digests that the code of a commit gives for its own golden inputs."""
    with tempfile.TemporaryDirectory() as name:
        tree = extract_commit(commit, Path(name))
        sources = [tree / "tests", *tree.glob("*/src")]
        done = subprocess.run(
            [sys.executable, "-P", str(ROOT / "tests" / "support" / "running_pods.py")],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sources))},
            stdout=subprocess.PIPE,
            check=True,
        )
    return dict(json.loads(done.stdout))


def write_record(commit: str) -> None:
    """Pin a commit (an id of 40 digits) as the release before."""
    record = {"commit": commit, "digests": digest_commit(commit)}
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    write_record(sys.argv[1])
