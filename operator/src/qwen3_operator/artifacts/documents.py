"""Documents of the contract in the bucket: commits, progress, reports, pointers, indexes."""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Hashable
from contextlib import aclosing
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from qwen3_api.job import layout
from qwen3_api.job.base import S3Location
from qwen3_api.job.export import Export
from qwen3_api.job.report import Commit, Progress, TrainReport, adapter_digest
from qwen3_api.serving.pool import CurrentAlias, PoolIndex
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.artifacts.client import Fetched, ObjectStore
from qwen3_operator.artifacts.external import ForeignAdapters
from qwen3_operator.artifacts.verification import PATIENCE_SECONDS, Checks, Tell
from qwen3_operator.controller.logs import get_logger
from qwen3_operator.finetune.views import Alias
from qwen3_operator.resources.views import wire_time

logger = get_logger(__name__)
REMEMBERED = 4096
REVISION = re.compile(r"[0-9a-f]{8}")
M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


class Artifacts:
    """Reads and writes the contract's documents. Immutable ones are remembered once read."""

    def __init__(
        self,
        store: ObjectStore,
        tell: Tell = lambda asker: None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """tell: gets each asker of `verify` that went without a verdict, when it is there.
        patience: seconds that the first asker waits for it."""
        self._store = store
        self._checks = Checks(tell, patience)
        self.foreign = ForeignAdapters(store)
        self._commits: OrderedDict[str, Commit] = OrderedDict()
        self._exports: OrderedDict[str, Export] = OrderedDict()

    async def read_commit(self, revision: S3Location) -> Commit | FailureStatus | None:
        """COMMIT.json below a revision's folder; a failure when it isn't what the contract says.

        Raises:
            StorageProblem, Transient: see ObjectStore.get.
        """
        location = revision.join(layout.COMMIT)
        known = self._commits.get(location.uri)
        if known is not None:
            return known
        fetched = await self._store.get(location)
        if fetched is None:
            return None
        try:
            commit = Commit.model_validate_json(fetched.body)
        except ValidationError as error:
            return _corrupt(f"{location.uri}: {error.errors()[0]['msg']}")
        problem = check_commit(commit, revision)
        if problem is not None:
            return problem
        _remember(self._commits, location.uri, commit)
        return commit

    async def verify(
        self, revision: S3Location, commit: Commit, asker: Hashable | None = None
    ) -> FailureStatus | None:
        """Read every file of a commit and compare size and sha256; None when all is as it says.

        The verdict is remembered: the files are never written again. A pod checks once more before
        it loads them.

        Raises:
            Waiting: the files are still being read; the asker is told when the verdict is there.
            StorageProblem, Transient: see ObjectStore.get; then there is no verdict.
        """
        key = f"{revision.endpoint} {revision.uri}#{commit.digest}"
        return await self._checks.ask(key, lambda: self._compare(revision, commit), asker)

    async def close(self) -> None:
        """End the checks that are under way."""
        await self._checks.close()

    async def _compare(self, revision: S3Location, commit: Commit) -> FailureStatus | None:
        for file in commit.files:
            location = revision.model_copy(update={"prefix": f"{commit.prefix}/{file.path}"})
            digest, size = hashlib.sha256(), 0
            async with aclosing(self._store.stream(location)) as chunks:
                async for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    if size > file.size:
                        # An object of any size would keep a place among the checks.
                        return _corrupt(
                            f"{location.uri} has more than the {file.size} bytes recorded in "
                            "COMMIT.json"
                        )
            if size != file.size or digest.hexdigest() != file.sha256:
                return _corrupt(
                    f"{location.uri} has {size} bytes and sha256 {digest.hexdigest()[:12]}, "
                    f"COMMIT.json records {file.size} and {file.sha256[:12]}"
                )
        return None

    async def read_export(
        self, revision: S3Location, commit: Commit, artifact: str
    ) -> Export | FailureStatus | None:
        """EXPORT.json of an artifact; a failure when it isn't what the contract says.

        The pod read every file back before it wrote this; nothing of ours loads them, so tens of
        gigabytes aren't read once more.

        Raises:
            StorageProblem, Transient: see ObjectStore.get.
        """
        folder = layout.export_prefix(revision.prefix, artifact)
        location = revision.model_copy(update={"prefix": f"{folder}/{layout.EXPORT_MANIFEST}"})
        known = self._exports.get(location.uri)
        if known is not None:
            return known
        fetched = await self._store.get(location)
        if fetched is None:
            return None
        try:
            export = Export.model_validate_json(fetched.body)
        except ValidationError as error:
            return _unreadable_export(f"{location.uri}: {error.errors()[0]['msg']}")
        problem = check_export(export, commit, folder, artifact)
        if problem is not None:
            return problem
        _remember(self._exports, location.uri, export)
        return export

    async def read_progress(self, attempt: S3Location) -> Progress | None:
        """progress.json of an attempt; a broken one is no progress."""
        return _lenient(Progress, await self._store.get(attempt.join(layout.PROGRESS)), attempt)

    async def read_report(self, attempt: S3Location) -> TrainReport | None:
        """report.json of an attempt; a broken one is no report."""
        return _lenient(TrainReport, await self._store.get(attempt.join(layout.REPORT)), attempt)

    async def read_document(self, location: S3Location, model: type[M]) -> M | None:
        """Any other document; a broken one is none."""
        return _lenient(model, await self._store.get(location), location)

    async def read_alias(self, location: S3Location) -> Alias | None:
        """current.json behind a public name; what is no pointer counts as none, but for its ETag.

        It lies where a tenant's credentials can write.
        """
        fetched = await self._store.get(location)
        if fetched is None:
            return None
        current = _lenient(CurrentAlias, fetched, location)
        if current is not None and not is_pointer(current, location):
            logger.warning("pointer belongs to another name", extra={"uri": location.uri})
            current = None
        return Alias(current, fetched.etag)

    async def swap_alias(self, location: S3Location, alias: CurrentAlias, etag: str | None) -> bool:
        """Move a public name; False when somebody moved it first."""
        return await self._store.put_if(location, alias.to_json(), etag)

    async def read_index(self, location: S3Location) -> tuple[PoolIndex | None, str | None]:
        """index.json of a pool and its ETag; a broken one counts as empty, to be overwritten."""
        fetched = await self._store.get(location)
        return _lenient(PoolIndex, fetched, location), fetched.etag if fetched else None

    async def write_index(self, location: S3Location, index: PoolIndex, etag: str | None) -> bool:
        """Write index.json if it is still the one that was read."""
        return await self._store.put_if(location, index.to_json(), etag)

    async def remove(self, folder: S3Location) -> int:
        """Remove a folder; returns how many objects."""
        return await self._store.delete_prefix(folder)


def is_pointer(current: CurrentAlias, location: S3Location) -> bool:
    """Whether a pointer is one that the operator could have written to this place."""
    revisions = [r for r in (current.revision, current.previous_revision) if r is not None]
    return (
        location.prefix.split("/")[-2:-1] == [current.alias]
        and all(REVISION.fullmatch(r) for r in revisions)
        and wire_time(current.promoted) is not None
    )


def check_commit(commit: Commit, revision: S3Location) -> FailureStatus | None:
    """What a commit must be, before its files are looked at: it comes from a tenant's pod, which
    must not point the operator or a pool at somebody else's folder."""
    inside = f"{revision.prefix}/{layout.ATTEMPTS}/"
    if not commit.prefix.startswith(inside) or ".." in commit.prefix.split("/"):
        return _corrupt(f"COMMIT.json points outside its revision: {commit.prefix[:200]}")
    if any(".." in f.path.split("/") for f in commit.files):
        return _corrupt("COMMIT.json contains a path with ..")
    if adapter_digest(commit.files) != commit.digest:
        return _corrupt("the digest in COMMIT.json doesn't match its files")
    if revision.prefix.rsplit("/", 1)[-1] != commit.revision:
        return _corrupt(f"COMMIT.json is for revision {commit.revision[:40]}")
    return None


def check_export(
    export: Export, commit: Commit, folder: str, artifact: str
) -> FailureStatus | None:
    """What a manifest must be; a tenant's pod wrote it."""
    if export.artifact != artifact or export.prefix != f"{folder}/{export.attempt}":
        return _unreadable_export(f"EXPORT.json of {artifact} points elsewhere: {export.prefix}")
    if adapter_digest(export.files) != export.digest:
        return _unreadable_export(f"the digest in {artifact}'s EXPORT.json doesn't match its files")
    if export.adapter_digest != commit.digest:
        return _unreadable_export(f"{artifact} was exported from another adapter")
    return None


def _unreadable_export(message: str) -> FailureStatus:
    return FailureStatus.of(
        Reason.ARTIFACT_CORRUPT,
        message,
        "Delete its folder below exports/ in the bucket; the artifact is then exported again.",
        user=False,
    )


def _corrupt(message: str) -> FailureStatus:
    return FailureStatus.of(
        Reason.ARTIFACT_CORRUPT,
        message,
        "The result in the bucket is damaged. Change a training input (such as the seed) to "
        "retrain; the current adapter stays in service.",
        user=False,
    )


def _lenient(model: type[M], fetched: Fetched | None, location: S3Location) -> M | None:
    if fetched is None:
        return None
    try:
        return model.model_validate_json(fetched.body)
    except ValidationError as error:
        logger.warning(
            "unreadable document",
            extra={"uri": location.uri, "error": error.errors()[0]["msg"]},
        )
        return None


def _remember(memory: OrderedDict[str, T], key: str, value: T) -> None:
    memory[key] = value
    while len(memory) > REMEMBERED:
        memory.popitem(last=False)
