"""Objects that are larger than what was declared of them are not read to their end."""

from collections.abc import AsyncIterator
from typing import Any

from qwen3_api.job.base import FileDigest, S3Location
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.artifacts.documents import Artifacts
from support.operator_world import build_commit, build_finetune

FOLDER = S3Location(endpoint=None, region=None, bucket="b", prefix="p")
CHUNK = b"x" * 1000


class Grown:
    """A store whose objects were listed with ten bytes and have a million."""

    def __init__(self) -> None:
        self.chunks = 0
        self.open = 0

    async def list_folder(self, folder: S3Location, limit: int) -> dict[str, int]:
        return {"adapter_config.json": 10}

    async def stream(self, location: S3Location) -> AsyncIterator[bytes]:
        self.open += 1
        try:
            for _ in range(1000):
                self.chunks += 1
                yield CHUNK
        finally:
            self.open -= 1


async def test_a_file_that_is_larger_than_its_commit_says_is_corrupt_at_once() -> None:
    store: Any = Grown()
    commit = build_commit(build_finetune()).model_copy(
        update={"files": [FileDigest(path="adapter_config.json", size=10, sha256="0" * 64)]}
    )
    problem = await Artifacts(store).verify(FOLDER, commit)
    assert problem is not None
    assert problem.reason == Reason.ARTIFACT_CORRUPT
    assert "more than the 10 bytes" in problem.message
    assert (store.chunks, store.open) == (1, 0)


async def test_a_file_that_grows_while_it_is_read_is_not_the_one_with_the_digest() -> None:
    store: Any = Grown()
    problem = await Artifacts(store).foreign.read(FOLDER, "0" * 64)
    assert isinstance(problem, FailureStatus)
    assert problem.reason == Reason.ARTIFACT_CORRUPT
    assert (store.chunks, store.open) == (1, 0)
