"""Checkpoints in the bucket: what is kept of one, when it counts, which one to go on from.

A folder counts once its CHECKPOINT.json is there; that is written last and deleted first. An
attempt goes on from the newest step, over all attempts of the revision, whose manifest fits the
spec and whose files verify.

    attempts/<pod uid>/checkpoints/step-<n>/{adapter_model.safetensors, optimizer.pt, …,
                                             origin.json, CHECKPOINT.json}
"""

import dataclasses
import json
import logging
import re
import shutil
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from qwen3_api.job import layout
from qwen3_api.job.base import Document
from qwen3_api.job.report import CheckpointManifest, SavedCheckpoint
from qwen3_api.job.train import TrainJob
from qwen3_api.pod.failure import FailureError
from qwen3_trainer.base_model import file_digest
from qwen3_trainer.failures import disk_full, is_disk_full
from qwen3_trainer.progress import now
from qwen3_trainer.store import Bucket, ObjectMissingError

log = logging.getLogger(__name__)

STATE_FILES = frozenset(
    {
        "adapter_config.json",
        "adapter_model.safetensors",
        "optimizer.pt",
        "scheduler.pt",
        "scaler.pt",
        "rng_state.pth",
        "trainer_state.json",
    }
)
"""What transformers reads when it resumes. training_args.bin, a full pickle, is not among them; the
*.pt and *.pth files are read with weights_only."""
_RNG = re.compile(r"rng_state(_\d{1,3})?\.pth")
"""One for each process when there are several."""
REQUIRED_FILES = STATE_FILES - {"scaler.pt", "rng_state.pth"}
"""And at least one with the state of the random generators."""
TRAINER_STATE = "trainer_state.json"
ORIGIN = "origin.json"
RETRY_SECONDS = 15.0
"""Between two tries to upload a checkpoint."""
_STEP = re.compile(r"/checkpoints/step-(\d+)/CHECKPOINT\.json$")


class Origin(Document):
    """`origin.json` of a checkpoint: what its sampler position and weights refer to."""

    dataset_sha256: str
    base_commit: str
    start_digest: str | None = None
    """Of the adapter that the run went on from: the weights started there, and a
    method with a reference compares with it.
    Earlier releases didn't write it, so such a run of theirs begins again: what its checkpoint
    began from can't be told."""


def origin_of(job: TrainJob, dataset_sha256: str, base_commit: str) -> Origin:
    """What the checkpoints of an order refer to."""
    start = job.adapter.start
    return Origin(
        dataset_sha256=dataset_sha256,
        base_commit=base_commit,
        start_digest=start.digest if start else None,
    )


def changes(then: Origin, today: Origin) -> str | None:
    """What differs between two origins, in words; None if nothing does. Pure."""
    names = {
        "dataset_sha256": "the data set",
        "base_commit": "the base model",
        "start_digest": "the adapter to start from",
    }
    found = [word for name, word in names.items() if getattr(then, name) != getattr(today, name)]
    return " and ".join(found) if found else None


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that seems complete."""

    step: int
    prefix: str
    """Key prefix without a trailing slash."""


@dataclass(frozen=True)
class Restored:
    """A verified checkpoint on the disk."""

    step: int
    folder: Path
    saved: SavedCheckpoint
    best: Path | None = None
    """The checkpoint with the lowest validation loss, where that is an earlier one."""


def is_state_file(name: str) -> bool:
    """Whether a file belongs into a checkpoint."""
    return name in STATE_FILES or name == ORIGIN or _RNG.fullmatch(name) is not None


def missing_files(names: Iterable[str]) -> set[str]:
    """What a set of files lacks to be a checkpoint that training can go on from."""
    present = set(names)
    missing = set(REQUIRED_FILES - present)
    if not any(_RNG.fullmatch(name) for name in present):
        missing.add("rng_state.pth")
    return missing


def best_step(folder: Path) -> int | None:
    """Step of the checkpoint with the lowest validation loss, as transformers noted it in another
    checkpoint's state; None where no validation chooses."""
    try:
        step = json.loads((folder / TRAINER_STATE).read_bytes()).get("best_global_step")
    except (OSError, ValueError, AttributeError) as error:
        log.warning("%s names no best step: %s", folder / TRAINER_STATE, error)
        return None
    return step if isinstance(step, int) and step > 0 else None


def candidates(keys: Iterable[str]) -> list[Candidate]:
    """The checkpoints among keys, newest step first."""
    found = []
    for key in keys:
        match = _STEP.search(key)
        if match:
            found.append(Candidate(int(match[1]), key.rpartition("/")[0]))
    return sorted(found, key=lambda c: (-c.step, c.prefix))


class CheckpointStore:
    """The checkpoints of one revision, as one attempt sees them."""

    def __init__(
        self,
        bucket: Bucket,
        *,
        revision: str,
        attempt: str,
        spec_hash: str,
        origin: Origin,
        keep_last: int,
    ) -> None:
        self._bucket = bucket
        self._attempts = f"{revision}/{layout.ATTEMPTS}/"
        self._attempt = layout.attempt_prefix(revision, attempt)
        self._own = self._attempt + "/"
        self._spec_hash = spec_hash
        self._origin = origin
        self._keep_last = keep_last

    def restore(self, folder: Path) -> Restored | None:
        """Downloads the newest checkpoint that verifies, and the best one if that is another;
        None if there is none."""
        found = self._candidates()
        newest = self._first_usable(found, folder)
        if newest is None:
            return None
        log.info("going on from %s", newest.saved.prefix)
        best = best_step(newest.folder)
        if best is None or best >= newest.step:
            return newest
        kept = self._first_usable([c for c in found if c.step == best], folder)
        return dataclasses.replace(newest, best=kept.folder if kept else None)

    def _first_usable(self, found: list[Candidate], folder: Path) -> Restored | None:
        for candidate in found:
            target = folder / f"checkpoint-{candidate.step}"
            shutil.rmtree(target, ignore_errors=True)
            try:
                manifest = self._fetch(candidate, target)
            except (UnusableError, ObjectMissingError) as error:
                log.warning("checkpoint %s is skipped: %s", candidate.prefix, error)
                shutil.rmtree(target, ignore_errors=True)
                continue
            saved = SavedCheckpoint(
                step=candidate.step, prefix=candidate.prefix, time=manifest.written
            )
            return Restored(candidate.step, target, saved)
        return None

    def save(self, source: Path, step: int) -> SavedCheckpoint:
        """Uploads a checkpoint that transformers wrote, the manifest last, and prunes older ones.

        Raises FailureError of the store, and TrainerFailed for an incomplete folder.
        """
        (source / ORIGIN).write_bytes(self._origin.to_json())
        present = {path.name for path in source.iterdir() if is_state_file(path.name)}
        missing = missing_files(present)
        if missing:
            raise FileNotFoundError(f"checkpoint {step} lacks {', '.join(sorted(missing))}")
        prefix = layout.checkpoint_prefix(self._attempt, step)
        digests = [file_digest(source, name) for name in sorted(present)]
        for digest in digests:
            self._bucket.upload(source / digest.path, f"{prefix}/{digest.path}")
        sizes = dict(self._bucket.list(prefix + "/"))
        for digest in digests:
            if sizes.get(f"{prefix}/{digest.path}") != digest.size:
                raise self._bucket.unavailable(f"{prefix}/{digest.path} was not stored whole")
        manifest = CheckpointManifest(
            spec_hash=self._spec_hash, step=step, files=digests, written=now()
        )
        self._bucket.put(f"{prefix}/{layout.CHECKPOINT_MANIFEST}", manifest.to_json())
        try:
            self._prune(step, best_step(source))
        except FailureError as error:
            # This one is whole; the older ones cost room, not the run.
            log.warning("older checkpoints stay in the bucket: %s", error.advice)
        return SavedCheckpoint(step=step, prefix=prefix, time=manifest.written)

    def _candidates(self) -> list[Candidate]:
        return candidates(key for key, _ in self._bucket.list(self._attempts))

    def _fetch(self, candidate: Candidate, target: Path) -> CheckpointManifest:
        manifest = self._manifest(candidate)
        names = {f.path for f in manifest.files}
        known = all(is_state_file(name) for name in names)
        if missing_files(names) or ORIGIN not in names or not known:
            raise UnusableError("its manifest names other files than a checkpoint has")
        for expected in manifest.files:
            self._bucket.download(f"{candidate.prefix}/{expected.path}", target / expected.path)
            if file_digest(target, expected.path) != expected:
                raise UnusableError(f"{expected.path} differs from its manifest")
        self._require_origin(target / ORIGIN)
        return manifest

    def _manifest(self, candidate: Candidate) -> CheckpointManifest:
        raw = self._bucket.get(f"{candidate.prefix}/{layout.CHECKPOINT_MANIFEST}")
        try:
            manifest = CheckpointManifest.model_validate_json(raw)
        except ValidationError as error:
            raise UnusableError(f"its manifest is broken: {error.error_count()} errors") from error
        if manifest.spec_hash != self._spec_hash:
            raise UnusableError("it belongs to another spec")
        if manifest.step != candidate.step:
            raise UnusableError(f"its manifest is about step {manifest.step}")
        return manifest

    def _require_origin(self, path: Path) -> None:
        try:
            origin = Origin.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise UnusableError(f"{ORIGIN} is broken") from error
        changed = changes(origin, self._origin)
        if changed is not None:
            raise UnusableError(f"changed since: {changed}")

    def _prune(self, newest: int, best: int | None) -> None:
        """Keeps the newest `keep_last` of this attempt and the best one. Of other attempts, all
        others go that are not newer than the one just stored: whoever reads finds a step at least
        as high."""
        found = self._candidates()
        own = [c for c in found if c.prefix.startswith(self._own)]
        others = [c for c in found if not c.prefix.startswith(self._own)]
        best_kept = next((c for c in [*own, *others] if c.step == best), None)
        old = [*own[self._keep_last :], *(c for c in others if c.step <= newest)]
        for candidate in (c for c in old if c != best_kept):
            self._bucket.delete([f"{candidate.prefix}/{layout.CHECKPOINT_MANIFEST}"])
            self._bucket.delete([key for key, _ in self._bucket.list(candidate.prefix + "/")])


class UnusableError(Exception):
    """Why a checkpoint is not gone on from."""


class CheckpointUploader:
    """Uploads from a thread with two waiting places: training never waits for the bucket.

    A newer checkpoint takes the place of one that is still waiting, unless that is the best so far:
    whoever goes on after a preemption shall find both. An upload that failed is tried
    again until a newer one comes or the run ends. Local folders are removed once they are uploaded
    or overtaken, except two: the newest, which the next worker goes on from, and the best.
    """

    def __init__(
        self,
        save: Callable[[Path, int], SavedCheckpoint],
        on_saved: Callable[[SavedCheckpoint], None],
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._save = save
        self._on_saved = on_saved
        self._retry_seconds = retry_seconds
        self._waiting: list[tuple[Path, int]] = []
        """(folder, step), the lower step first: the newest, and before it the best, if it waits."""
        self._uploading: Path | None = None
        self._kept: list[Path] = []
        self._best: int | None = None
        self._disk_full: FailureError | None = None
        self._closing = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self.newest: Path | None = None
        """Folder of the newest complete checkpoint on the disk."""

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def submit(self, folder: Path, step: int) -> None:
        """Hands a complete local checkpoint over.

        Raises FailureError: DiskFull, when an earlier one could not be prepared for that.
        """
        if self._disk_full is not None:
            raise self._disk_full
        best = best_step(folder)
        with self._condition:
            self._kept.append(folder)
            self.newest, self._best = folder, best
            self._wait_for_turn(folder, step)
            self._condition.notify_all()
            self._clear()

    def close(self) -> None:
        """Waits until the newest checkpoint is uploaded, or has failed once more."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                (folder, step), last_try = self._waiting.pop(0), self._closing
                self._uploading = folder
            stored = self._upload(folder, step)
            with self._condition:
                self._uploading = None
                if not stored and not last_try:
                    self._retry_later(folder, step)
                self._clear()

    def _retry_later(self, folder: Path, step: int) -> None:
        overtaken = self._waiting and step != self._best
        if not overtaken:
            newest = self.newest
            self._condition.wait_for(
                lambda: self.newest != newest or self._closing, self._retry_seconds
            )
        self._wait_for_turn(folder, step)

    def _wait_for_turn(self, folder: Path, step: int) -> None:
        waiting = sorted([*self._waiting, (folder, step)], key=lambda entry: entry[1])
        newest = waiting[-1][1]
        self._waiting = [entry for entry in waiting if entry[1] in (self._best, newest)]
        for _, overtaken in waiting:
            if overtaken not in (self._best, newest):
                log.warning("checkpoint %d was overtaken before it reached the bucket", overtaken)

    def _clear(self) -> None:
        """Removes the folders that nobody needs any more."""
        needed = {self.newest, self._uploading, *(folder for folder, _ in self._waiting)}
        for folder in [f for f in self._kept if f not in needed]:
            if self._best is not None and folder.name.endswith(f"-{self._best}"):
                continue
            shutil.rmtree(folder, ignore_errors=True)
            self._kept.remove(folder)

    def _upload(self, folder: Path, step: int) -> bool:
        try:
            self._on_saved(self._save(folder, step))
        except FailureError as error:
            log.warning("checkpoint %d is not in the bucket: %s", step, error.message)
            return False
        except Exception as error:
            # This thread has nobody to raise to, and whoever closes it waits for its end.
            log.exception("checkpoint %d can't be uploaded", step)
            if is_disk_full(error):
                self._disk_full = disk_full(str(error), step)
            return False
        log.info("checkpoint %d is in the bucket", step)
        return True
