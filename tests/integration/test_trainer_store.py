"""The trainer's storage against a real object store: answers, checkpoints, commits."""

import hashlib
import itertools
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen3_api.job.report import CheckpointManifest, SavedCheckpoint, adapter_digest
from qwen3_api.job.train import HuggingFaceModel
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_local import s3
from qwen3_trainer import publish
from qwen3_trainer.base_model import fetch, file_digest
from qwen3_trainer.checkpoints import STATE_FILES, CheckpointStore, CheckpointUploader, Origin
from qwen3_trainer.store import Bucket, Buckets, ObjectExistsError, ObjectMissingError
from support.train_jobs import train_job
from support.trainer_runs import BUCKET, Store, running_store

pytestmark = pytest.mark.integration
ORIGIN = Origin(dataset_sha256="0" * 64, base_commit="base")
_revisions = itertools.count(1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """SeaweedFS, shared by the module; each test takes prefixes of its own."""
    with running_store(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def bucket(store: Store, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """The bucket as a trainer with full rights sees it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", store.server.credentials.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", store.server.credentials.secret_key)
    return Bucket(store.server.endpoint, "us-east-1", BUCKET)


@pytest.fixture
def revision() -> str:
    """A prefix that no other test uses."""
    return f"revisions/r{next(_revisions)}"


def test_a_conditional_write_has_one_winner(bucket: Bucket, revision: str) -> None:
    outcomes: list[str] = []

    def race(name: str) -> None:
        try:
            bucket.put(f"{revision}/COMMIT.json", name.encode(), only_if_absent=True)
            outcomes.append(name)
        except ObjectExistsError:
            outcomes.append("lost")

    threads = [threading.Thread(target=race, args=(f"attempt-{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    winners = [name for name in outcomes if name != "lost"]
    assert len(outcomes) == 8
    assert len(winners) == 1
    assert bucket.get(f"{revision}/COMMIT.json").decode() == winners[0]


def test_missing_things_have_names(bucket: Bucket, store: Store) -> None:
    with pytest.raises(ObjectMissingError):
        bucket.get("nothing")
    with pytest.raises(ObjectMissingError):
        bucket.open("nothing")
    with pytest.raises(FailureError) as caught:
        Bucket(store.server.endpoint, "us-east-1", "no-such-bucket").put("key", b"x")
    assert caught.value.reason == Reason.BUCKET_NOT_FOUND


def test_an_endpoint_that_is_none_is_told() -> None:
    with pytest.raises(FailureError) as caught:
        Bucket("not a url", None, BUCKET)
    assert caught.value.reason == Reason.STORAGE_NOT_CONFIGURED


def test_refusals_are_denied(bucket: Bucket, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    without_keys = Bucket(store.server.endpoint, "us-east-1", BUCKET)
    with pytest.raises(FailureError) as missing:
        without_keys.get("key")
    assert missing.value.reason == Reason.STORAGE_DENIED

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", store.server.credentials.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(FailureError) as wrong:
        Bucket(store.server.endpoint, "us-east-1", BUCKET).put("key", b"x")
    assert wrong.value.reason == Reason.STORAGE_DENIED

    tenant = s3.Credentials("tenant-key", "tenant-secret-1234")
    s3.ensure_identity(store.server, "tenant", tenant, s3.tenant_actions("team-a"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", tenant.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", tenant.secret_key)
    limited = Bucket(store.server.endpoint, "us-east-1", BUCKET)
    limited.put("qwen3/team-a/x", b"x", only_if_absent=True)
    with pytest.raises(FailureError) as foreign:
        limited.put("qwen3/team-b/x", b"x")
    assert foreign.value.reason == Reason.STORAGE_DENIED


def test_an_absent_store_is_unavailable_after_bounded_retries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        absent = Bucket(f"http://127.0.0.1:{closed.getsockname()[1]}", None, BUCKET)
        with pytest.raises(FailureError) as caught:
            absent.put("key", b"x")
    assert caught.value.reason == Reason.STORAGE_UNAVAILABLE


class BreakingProxy:
    """Passes TCP on and cuts a connection after some bytes, a given number of times."""

    def __init__(self, target: tuple[str, int], cut_after: int, cuts: int) -> None:
        self._target, self._cut_after = target, cut_after
        self.cuts = cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            upstream = socket.create_connection(self._target)
            threading.Thread(target=self._pass, args=(client, upstream), daemon=True).start()
            threading.Thread(target=self._answer, args=(upstream, client), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(65536):
            sink.sendall(data)

    def _answer(self, source: socket.socket, sink: socket.socket) -> None:
        passed = 0
        while data := source.recv(65536):
            if self.cuts and passed + len(data) > self._cut_after:
                self.cuts -= 1
                sink.sendall(data[: self._cut_after - passed])
                sink.shutdown(socket.SHUT_RDWR)
                return
            sink.sendall(data)
            passed += len(data)


def test_a_stream_survives_broken_connections(bucket: Bucket, store: Store) -> None:
    body = bytes(range(256)) * 20_000
    bucket.put("big", body)
    proxy = BreakingProxy(("127.0.0.1", store.server.port), cut_after=1_000_000, cuts=3)
    broken = Bucket(f"http://127.0.0.1:{proxy.port}", "us-east-1", BUCKET)

    reader = broken.open("big")
    read = b"".join(iter(lambda: reader.read(65536), b""))

    assert proxy.cuts == 0
    assert read == body
    assert reader.sha256 == hashlib.sha256(body).hexdigest()


# --- checkpoints ----------------------------------------------------------------------------------


def _local(folder: Path, step: int, best: int | None = None) -> Path:
    """What transformers leaves, and more that must not be uploaded."""
    target = folder / f"checkpoint-{step}"
    target.mkdir(parents=True, exist_ok=True)
    for name in STATE_FILES - {"scaler.pt"}:
        (target / name).write_text(f"{name} of step {step}")
    (target / "trainer_state.json").write_text(json.dumps({"best_global_step": best}))
    (target / "training_args.bin").write_text("a pickle")
    (target / "tokenizer.json").write_text("large")
    return target


def _checkpoints(
    bucket: Bucket, revision: str, attempt: str, spec: str = "spec", origin: Origin = ORIGIN
) -> CheckpointStore:
    return CheckpointStore(
        bucket, revision=revision, attempt=attempt, spec_hash=spec, origin=origin, keep_last=2
    )


def _steps(store: Store, revision: str) -> list[str]:
    marker = "/CHECKPOINT.json"
    keys = store.keys(f"{revision}/attempts/")
    return sorted(
        key.removeprefix(f"{revision}/attempts/").removesuffix(marker)
        for key in keys
        if key.endswith(marker)
    )


def test_a_checkpoint_comes_back_whole(bucket: Bucket, revision: str, tmp_path: Path) -> None:
    saved = _checkpoints(bucket, revision, "a").save(_local(tmp_path / "out", 5), 5)
    restored = _checkpoints(bucket, revision, "b").restore(tmp_path / "in")

    assert restored is not None
    assert (restored.step, restored.saved) == (5, saved)
    names = {path.name for path in restored.folder.iterdir()}
    assert names == (STATE_FILES - {"scaler.pt"}) | {"origin.json"}
    assert (restored.folder / "optimizer.pt").read_text() == "optimizer.pt of step 5"


def test_pruning_keeps_the_newest_and_never_a_newer_one(
    bucket: Bucket, store: Store, revision: str, tmp_path: Path
) -> None:
    first, second = (_checkpoints(bucket, revision, a) for a in ("a", "b"))
    for step in (5, 10, 15):
        first.save(_local(tmp_path, step), step)
    assert _steps(store, revision) == ["a/checkpoints/step-10", "a/checkpoints/step-15"]

    second.save(_local(tmp_path, 12), 12)
    assert _steps(store, revision) == ["a/checkpoints/step-15", "b/checkpoints/step-12"]

    second.save(_local(tmp_path, 20), 20)
    assert _steps(store, revision) == ["b/checkpoints/step-12", "b/checkpoints/step-20"]
    assert store.keys(f"{revision}/attempts/a/") == []


def test_the_best_is_kept_and_comes_back_with_the_newest(
    bucket: Bucket, store: Store, revision: str, tmp_path: Path
) -> None:
    """Over attempts too: an adapter of a lower validation loss is what a run commits."""
    first, second = (_checkpoints(bucket, revision, a) for a in ("a", "b"))
    for step in (5, 10, 15, 20):
        first.save(_local(tmp_path, step, best=5), step)
    kept = ["a/checkpoints/step-15", "a/checkpoints/step-20", "a/checkpoints/step-5"]
    assert _steps(store, revision) == kept

    restored = second.restore(tmp_path / "in")
    assert restored is not None
    assert restored.step == 20
    assert restored.best == tmp_path / "in" / "checkpoint-5"
    assert (restored.best / "optimizer.pt").read_text() == "optimizer.pt of step 5"

    second.save(_local(tmp_path, 25, best=5), 25)
    assert _steps(store, revision) == ["a/checkpoints/step-5", "b/checkpoints/step-25"]
    second.save(_local(tmp_path, 30, best=30), 30)
    assert _steps(store, revision) == ["b/checkpoints/step-25", "b/checkpoints/step-30"]


def _damage(store: Store, revision: str, how: str) -> None:
    prefix = f"{revision}/attempts/a/checkpoints/step-10"
    manifest = json.loads(store.get(f"{prefix}/CHECKPOINT.json") or b"")
    if how == "a flipped byte":
        store.put(f"{prefix}/optimizer.pt", b"Optimizer.pt of step 10")
    elif how == "a missing file":
        store.client.delete_object(Bucket=BUCKET, Key=f"{prefix}/rng_state.pth")
    elif how == "no manifest":
        store.client.delete_object(Bucket=BUCKET, Key=f"{prefix}/CHECKPOINT.json")
    elif how == "no JSON":
        store.put(f"{prefix}/CHECKPOINT.json", b"{")
    elif how == "another step":
        manifest["step"] = 11
    elif how == "another spec":
        manifest["spec_hash"] = "other"
    elif how == "a pickle more":
        store.put(f"{prefix}/training_args.bin", b"pickle")
        digest = hashlib.sha256(b"pickle").hexdigest()
        manifest["files"].append({"path": "training_args.bin", "size": 6, "sha256": digest})
    elif how == "a file less":
        manifest["files"] = [f for f in manifest["files"] if f["path"] != "optimizer.pt"]
    if how in ("another step", "another spec", "a pickle more", "a file less"):
        store.put(f"{prefix}/CHECKPOINT.json", json.dumps(manifest).encode())


@pytest.mark.parametrize(
    "how",
    [
        "a flipped byte",
        "a missing file",
        "no manifest",
        "no JSON",
        "another step",
        "another spec",
        "a pickle more",
        "a file less",
    ],
)
def test_a_damaged_checkpoint_is_skipped_for_an_older_one(
    bucket: Bucket, store: Store, revision: str, tmp_path: Path, how: str
) -> None:
    checkpoints = _checkpoints(bucket, revision, "a")
    for step in (5, 10):
        checkpoints.save(_local(tmp_path / "out", step), step)
    _damage(store, revision, how)

    restored = _checkpoints(bucket, revision, "b").restore(tmp_path / "in")

    assert restored is not None
    assert restored.step == 5


def test_a_changed_origin_starts_over(bucket: Bucket, revision: str, tmp_path: Path) -> None:
    _checkpoints(bucket, revision, "a").save(_local(tmp_path / "out", 5), 5)
    for change in ({"dataset_sha256": "1" * 64}, {"base_commit": "c"}, {"start_digest": "2" * 64}):
        changed = ORIGIN.model_copy(update=change)
        assert _checkpoints(bucket, revision, "b", origin=changed).restore(tmp_path / "in") is None


def test_an_incomplete_folder_is_not_uploaded(
    bucket: Bucket, store: Store, revision: str, tmp_path: Path
) -> None:
    folder = _local(tmp_path, 5)
    (folder / "optimizer.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"optimizer\.pt"):
        _checkpoints(bucket, revision, "a").save(folder, 5)
    assert store.keys(f"{revision}/") == []


# --- uploads beside training ----------------------------------------------------------------------


class SlowSave:
    """Saves when it is let, or fails."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.entered, self.leave = threading.Event(), threading.Event()
        self.saved: list[int] = []

    def __call__(self, folder: Path, step: int) -> SavedCheckpoint:
        self.entered.set()
        assert self.leave.wait(120)
        if self.failures:
            self.failures -= 1
            raise FailureError(Reason.STORAGE_UNAVAILABLE, "away")
        assert folder.is_dir()
        self.saved.append(step)
        return SavedCheckpoint(step=step, prefix="p", time="t")


def test_a_slow_bucket_costs_checkpoints_and_no_time(tmp_path: Path) -> None:
    save, seen = SlowSave(), []
    uploader = CheckpointUploader(save, seen.append)
    uploader.start()
    folders = {step: _local(tmp_path, step) for step in (1, 2, 3)}
    uploader.submit(folders[1], 1)
    assert save.entered.wait(120)
    uploader.submit(folders[2], 2)
    uploader.submit(folders[3], 3)
    assert save.saved == []
    save.leave.set()
    uploader.close()

    assert save.saved == [1, 3]
    assert [c.step for c in seen] == [1, 3]
    # The next worker may have to go on from the newest.
    assert [step for step, folder in folders.items() if folder.exists()] == [3]


@pytest.mark.parametrize(("failures", "saved"), [(1, [1]), (99, [])])
def test_a_failed_upload_is_tried_again_and_never_for_ever(
    tmp_path: Path, failures: int, saved: list[int]
) -> None:
    save = SlowSave(failures)
    save.leave.set()
    uploader = CheckpointUploader(save, lambda _: None, retry_seconds=3600)
    uploader.start()
    uploader.submit(_local(tmp_path, 1), 1)
    assert save.entered.wait(120)
    uploader.close()
    assert save.saved == saved


# --- base model and commit ------------------------------------------------------------------------


def _base(store: Store, prefix: str, **files: bytes) -> None:
    for name, body in files.items():
        store.put(f"{prefix}/{name.replace('__', '.')}", body)


def _no_hub(_: HuggingFaceModel) -> Path:
    raise AssertionError("the weights are in the bucket")


def test_a_base_model_is_fetched_without_pickles_and_code(
    bucket: Bucket, store: Store, tmp_path: Path
) -> None:
    config = b'{"model_type": "qwen3"}'
    _base(store, "base/ok", config__json=config, model__safetensors=b"w", tokenizer__json=b"{}")
    _base(store, "base/ok", pytorch_model__bin=b"pickle", modeling__py=b"code", a__pt=b"pickle")
    store.put("base/ok/sub/model.safetensors", b"other")
    job = train_job(store.location, **{"base_model.source.location.prefix": "base/ok/"})

    base = fetch(job.base_model, Buckets(), tmp_path / "base", _no_hub)

    names = {path.name for path in base.path.iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json"}
    assert base.commit == adapter_digest([file_digest(base.path, name) for name in names])


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "holds no *.safetensors"),
        ({"config__json": b"{}", "pytorch_model__bin": b"p"}, "pickles are refused"),
        ({"model__safetensors": b"w"}, "no readable config.json"),
        ({"model__safetensors": b"w", "config__json": b"[]"}, "no JSON object"),
    ],
)
def test_a_base_model_that_is_none_is_not_found(
    bucket: Bucket, store: Store, tmp_path: Path, files: dict[str, bytes], words: str
) -> None:
    prefix = f"base/bad-{next(_revisions)}"
    _base(store, prefix, **files)
    job = train_job(store.location, **{"base_model.source.location.prefix": prefix})
    with pytest.raises(FailureError) as caught:
        fetch(job.base_model, Buckets(), tmp_path / "base", _no_hub)
    assert caught.value.reason == Reason.BASE_MODEL_NOT_FOUND
    assert words in caught.value.message


@pytest.mark.parametrize(
    "config", [b'{"model_type": "llama"}', b'{"model_type": "qwen3", "quantization_config": {}}']
)
def test_a_base_model_of_another_kind_is_refused(
    bucket: Bucket, store: Store, tmp_path: Path, config: bytes
) -> None:
    prefix = f"base/bad-{next(_revisions)}"
    _base(store, prefix, model__safetensors=b"w", config__json=config)
    job = train_job(store.location, **{"base_model.source.location.prefix": prefix})
    with pytest.raises(FailureError) as caught:
        fetch(job.base_model, Buckets(), tmp_path / "base", _no_hub)
    assert caught.value.reason == Reason.BASE_MODEL_UNSUPPORTED


def test_upload_reads_back_what_it_wrote(
    bucket: Bucket, store: Store, revision: str, tmp_path: Path
) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    files = [file_digest(tmp_path, "adapter_model.safetensors")]
    publish.upload_verified(bucket, tmp_path, revision, files)
    assert store.get(f"{revision}/adapter_model.safetensors") == b"weights"

    (tmp_path / "adapter_model.safetensors").write_bytes(b"Weights")
    with pytest.raises(FailureError, match="other bytes"):
        publish.upload_verified(bucket, tmp_path, revision, files)


def test_a_manifest_is_the_last_word(bucket: Bucket, revision: str, tmp_path: Path) -> None:
    _checkpoints(bucket, revision, "a").save(_local(tmp_path / "out", 5), 5)
    raw = bucket.get(f"{revision}/attempts/a/checkpoints/step-5/CHECKPOINT.json")
    manifest = CheckpointManifest.model_validate_json(raw)
    assert {f.path for f in manifest.files} == (STATE_FILES - {"scaler.pt"}) | {"origin.json"}
    shutil.rmtree(tmp_path / "out")


def test_reading_a_commit_that_is_none(bucket: Bucket, revision: str) -> None:
    assert not publish.is_committed(bucket, revision)
    assert publish.read_commit(bucket, revision) is None
    bucket.put(f"{revision}/COMMIT.json", b"{}")
    assert publish.is_committed(bucket, revision)
    assert publish.read_commit(bucket, revision) is None
