"""The operator's store against a real object store: races, refusals, damage, removal."""

import asyncio
import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import ValidationError

from qwen3_api.job import layout
from qwen3_api.job.base import FileDigest, S3Location
from qwen3_api.job.export import Export
from qwen3_api.job.report import Commit, Progress, adapter_digest
from qwen3_api.serving.pool import PoolIndex
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_local import s3
from qwen3_operator.artifacts.client import MAX_DOCUMENT, ObjectStore, StorageProblem
from qwen3_operator.artifacts.documents import Artifacts
from qwen3_operator.artifacts.external import StoredAdapter
from qwen3_operator.controller.errors import Transient
from qwen3_operator.settings import Settings
from support.operator_world import (
    build_commit,
    build_current,
    build_export,
    build_finetune,
    build_progress,
    sha256,
)
from support.trainer_runs import BUCKET, Store, running_store

pytestmark = pytest.mark.integration
FT = build_finetune()
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """SeaweedFS, shared by the module; each test takes prefixes of its own."""
    with running_store(tmp_path_factory.mktemp("s3")) as running:
        yield running


def build_settings(endpoint: str, folder: Path, access: str, secret: str) -> Settings:
    """An operator with one store and these keys."""
    folder.mkdir(exist_ok=True)
    (folder / "AWS_ACCESS_KEY_ID").write_text(f"{access}\n")
    (folder / "AWS_SECRET_ACCESS_KEY").write_text(f"{secret}\n")
    store = {"endpoint": endpoint, "bucket": BUCKET, "credentialsDir": str(folder)}
    return Settings.model_validate(
        {
            "images": {"trainer": "t", "server": "s", "evaluator": "e"},
            "storage": {"default": store},
        }
    )


@pytest.fixture
async def store(server: Store, tmp_path: Path) -> ObjectStore:
    """The operator's client."""
    keys = server.server.credentials
    settings = build_settings(
        server.server.endpoint, tmp_path / "keys", keys.access_key, keys.secret_key
    )
    return ObjectStore(settings)


@pytest.fixture
def folder(server: Store) -> S3Location:
    """A prefix that no other test uses."""
    return S3Location(
        endpoint=server.server.endpoint,
        region=None,
        bucket=BUCKET,
        prefix=f"qwen3/team-a/uid-{next(_numbers)}",
    )


# --- conditional writes


async def test_a_race_to_create_has_one_winner(store: ObjectStore, folder: S3Location) -> None:
    place = folder.join("current.json")
    won = await asyncio.gather(
        *(store.put_if(place, f"writer {n}".encode(), None) for n in range(16))
    )
    assert won.count(True) == 1
    found = await store.get(place)
    assert found is not None
    assert found.body == f"writer {won.index(True)}".encode()


async def test_a_race_to_replace_has_one_winner(store: ObjectStore, folder: S3Location) -> None:
    place = folder.join("current.json")
    assert await store.put_if(place, b"first", None)
    found = await store.get(place)
    assert found is not None
    won = await asyncio.gather(
        *(store.put_if(place, f"writer {n}".encode(), found.etag) for n in range(16))
    )
    assert won.count(True) == 1
    assert not await store.put_if(place, b"late", found.etag)
    assert not await store.put_if(place, b"late", None)


async def test_replacing_what_is_gone_loses(store: ObjectStore, folder: S3Location) -> None:
    place = folder.join("current.json")
    assert await store.put_if(place, b"first", None)
    found = await store.get(place)
    assert found is not None
    await store.delete_prefix(folder)
    assert not await store.put_if(place, b"second", found.etag)


# --- refusals


async def test_what_is_not_there_is_none(store: ObjectStore, folder: S3Location) -> None:
    assert await store.get(folder.join("nothing")) is None
    assert [chunk async for chunk in store.stream(folder.join("nothing"))] == []


@pytest.mark.parametrize("name", ["a//b", "a/../b", "./a"])
async def test_a_name_that_no_store_takes_is_none(
    store: ObjectStore, folder: S3Location, name: str
) -> None:
    """A tenant's commit may hold one."""
    assert await store.get(folder.join(name)) is None
    assert [chunk async for chunk in store.stream(folder.join(name))] == []


async def test_removes_names_with_odd_characters(
    server: Store, store: ObjectStore, folder: S3Location
) -> None:
    for name in ("a b", "%20", "é#?&+", "x//y", "..z"):
        server.client.put_object(Bucket=BUCKET, Key=f"{folder.prefix}/{name}", Body=b"x")
    assert await store.delete_prefix(folder) == 5
    assert server.keys(f"{folder.prefix}/") == []


async def test_a_missing_bucket_has_a_name(store: ObjectStore, folder: S3Location) -> None:
    elsewhere = folder.model_copy(update={"bucket": "not-there"}).join("x")
    for attempt in (store.get(elsewhere), store.delete_prefix(elsewhere)):
        with pytest.raises(StorageProblem) as caught:
            await attempt
        assert caught.value.problem.reason == Reason.BUCKET_NOT_FOUND
    with pytest.raises(StorageProblem) as caught:
        await store.put_if(elsewhere, b"x", None)
    assert caught.value.problem.reason == Reason.BUCKET_NOT_FOUND


@pytest.mark.parametrize("wrong", ["access", "secret"])
async def test_a_wrong_key_is_denied(
    server: Store, folder: S3Location, tmp_path: Path, wrong: str
) -> None:
    keys = dataclasses.replace(server.server.credentials, **{f"{wrong}_key": "wrong"})
    settings = build_settings(
        server.server.endpoint, tmp_path / "keys", keys.access_key, keys.secret_key
    )
    store = ObjectStore(settings)
    with pytest.raises(StorageProblem) as caught:
        await store.get(folder.join("x"))
    assert caught.value.problem.reason == Reason.STORAGE_DENIED
    with pytest.raises(StorageProblem):
        await store.put_if(folder.join("x"), b"x", None)


async def test_a_tenants_key_reaches_its_prefix_only(
    server: Store, folder: S3Location, tmp_path: Path
) -> None:
    pair = s3.Credentials("team-b", "team-b-secret")
    s3.ensure_identity(server.server, "team-b", pair, s3.tenant_actions("team-b", BUCKET))
    settings = build_settings(
        server.server.endpoint, tmp_path / "keys", pair.access_key, pair.secret_key
    )
    store = ObjectStore(settings)
    own = folder.model_copy(update={"prefix": "qwen3/team-b/x"})
    assert await store.put_if(own, b"x", None)
    with pytest.raises(StorageProblem) as caught:
        await store.get(folder.join("x"))
    assert caught.value.problem.reason == Reason.STORAGE_DENIED


async def test_a_key_is_refused_rotated_and_taken(
    server: Store, folder: S3Location, tmp_path: Path
) -> None:
    """By the same client: neither a restored nor a rotated key needs a restart."""
    files, place = tmp_path / "keys", folder.join("x")

    def grant(pair: s3.Credentials) -> None:
        s3.ensure_identity(server.server, "rotating", pair, s3.ADMIN)

    old, new = s3.Credentials("rotating-1", "first"), s3.Credentials("rotating-2", "second")
    grant(old)
    settings = build_settings(server.server.endpoint, files, old.access_key, old.secret_key)
    store = ObjectStore(settings)
    assert await store.put_if(place, b"x", None)

    async def refused() -> FailureStatus:
        problems = []
        for call in (
            store.get(place),
            store.put_if(place, b"y", None),
            store.delete_prefix(folder),
        ):
            with pytest.raises(StorageProblem) as caught:
                await call
            problems.append(caught.value.problem)
        assert {p.reason for p in problems} == {Reason.STORAGE_DENIED}
        assert {p.message for p in problems} == {problems[0].message}, "status would change with it"
        return problems[0]

    s3.remove_identity(server.server, "rotating")
    assert "InvalidAccessKeyId" in (await refused()).message
    assert "rotate the operator's key" in (await refused()).hint
    grant(old)
    assert await store.get(place) is not None

    grant(new)
    await refused()
    (files / "AWS_ACCESS_KEY_ID").write_text(f"{new.access_key}\n")
    (files / "AWS_SECRET_ACCESS_KEY").write_text(f"{new.secret_key}\n")
    with pytest.raises(StorageProblem):
        await store.get(place)
    found = await store.get(place)
    assert found is not None, "the files are read after the refusal"
    assert found.body == b"x"


async def test_nobody_answers(folder: S3Location, tmp_path: Path) -> None:
    settings = build_settings("http://127.0.0.1:9", tmp_path / "keys", "a", "b")
    away = folder.model_copy(update={"endpoint": "http://127.0.0.1:9"})
    store = ObjectStore(settings)
    with pytest.raises(Transient):
        await store.get(away.join("x"))


# --- removal


async def test_removes_everything_below_and_nothing_beside(
    server: Store, store: ObjectStore, folder: S3Location
) -> None:
    for name in ("a", "deep/er/b", "deep/c"):
        await store.put_if(folder.join(name), b"x", None)
    beside = folder.model_copy(update={"prefix": f"{folder.prefix}0/a"})
    await store.put_if(beside, b"x", None)
    assert await store.delete_prefix(folder) == 3
    assert server.keys(f"{folder.prefix}/") == []
    assert await store.get(beside) is not None
    assert await store.delete_prefix(folder) == 0


async def test_removes_more_than_one_page(
    server: Store, store: ObjectStore, folder: S3Location
) -> None:
    for n in range(0, 1100, 100):
        await asyncio.gather(
            *(store.put_if(folder.join(f"step-{n + m}"), b"", None) for m in range(100))
        )
    assert await store.delete_prefix(folder) == 1100
    assert server.keys(f"{folder.prefix}/") == []


async def test_a_key_that_stays_is_no_success(folder: S3Location, tmp_path: Path) -> None:
    """DeleteObjects answers 200 and lists in its body what it kept: S3's own way to say no."""

    async def answer(request: web.Request) -> web.Response:
        if request.method == "POST":
            body = (
                "<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code>"
                "<Message>locked</Message></Error></DeleteResult>"
            )
        else:
            body = (
                "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>1</KeyCount>"
                "<Contents><Key>k</Key><Size>1</Size><ETag>e</ETag>"
                "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents></ListBucketResult>"
            )
        return web.Response(text=body, content_type="application/xml")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    async with TestServer(app) as remote:
        endpoint = f"http://127.0.0.1:{remote.port}"
        settings = build_settings(endpoint, tmp_path / "keys", "a", "b")
        store = ObjectStore(settings)
        with pytest.raises(StorageProblem) as caught:
            await store.delete_prefix(folder.model_copy(update={"endpoint": endpoint}))
        assert caught.value.problem.reason == Reason.STORAGE_DENIED


# --- documents


class Revision:
    """A revision's folder with a committed adapter of two files."""

    def __init__(self, store: ObjectStore, uid_folder: S3Location) -> None:
        self.store = store
        self.place = uid_folder.join("revisions", "0123abcd")
        self.files = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"w" * 3000}

    def commit(self, **changes: object) -> Commit:
        digests = [FileDigest(path=p, size=len(b), sha256=sha256(b)) for p, b in self.files.items()]
        values: dict[str, Any] = {
            "prefix": self.place.join("attempts", "pod-1", "adapter").prefix,
            "files": digests,
            "digest": adapter_digest(digests),
        }
        return build_commit(FT, "0123abcd", **values).model_copy(update=changes)

    async def publish(self, commit: Commit | bytes | None = None) -> None:
        for path, body in self.files.items():
            place = self.place.join("attempts", "pod-1", "adapter", path)
            await self.store.put_if(place, body, None)
        body = commit if isinstance(commit, bytes) else (commit or self.commit()).to_json()
        assert await self.store.put_if(self.place.join(layout.COMMIT), body, None)

    async def overwrite(self, path: str, body: bytes) -> None:
        place = self.place.join("attempts", "pod-1", "adapter", path)
        found = await self.store.get(place)
        assert found is not None
        assert await self.store.put_if(place, body, found.etag)


@pytest.fixture
def revision(store: ObjectStore, folder: S3Location) -> Revision:
    return Revision(store, folder)


@pytest.fixture
def artifacts(store: ObjectStore) -> Artifacts:
    """An operator that has just started: it remembers nothing."""
    return Artifacts(store)


async def test_a_good_commit_verifies(artifacts: Artifacts, revision: Revision) -> None:
    assert await artifacts.read_commit(revision.place) is None
    await revision.publish()
    commit = await artifacts.read_commit(revision.place)
    assert isinstance(commit, Commit)
    assert await artifacts.verify(revision.place, commit) is None


@pytest.mark.parametrize(
    "damage", [b"w" * 2999 + b"x", b"w" * 2999, b"w" * 3001, b""], ids=["flip", "cut", "grown", "0"]
)
async def test_a_damaged_file_is_told(
    artifacts: Artifacts, revision: Revision, damage: bytes
) -> None:
    await revision.publish()
    await revision.overwrite("adapter_model.safetensors", damage)
    problem = await artifacts.verify(revision.place, revision.commit())
    assert problem is not None
    assert problem.reason == Reason.ARTIFACT_CORRUPT
    assert "adapter_model.safetensors" in problem.message


async def test_a_missing_file_is_told(
    store: ObjectStore, artifacts: Artifacts, revision: Revision
) -> None:
    await revision.publish()
    await store.delete_prefix(revision.place.join("attempts"))
    problem = await artifacts.verify(revision.place, revision.commit())
    assert problem is not None
    assert problem.reason == Reason.ARTIFACT_CORRUPT


def pointing(prefix: str) -> dict[str, object]:
    return {"prefix": prefix}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            pointing("qwen3/team-b/uid/revisions/0123abcd/attempts/p/adapter"), id="other"
        ),
        pytest.param(pointing("{revision}/attempts/../../../x"), id="dots"),
        pytest.param(pointing("{revision}x/attempts/p"), id="a longer name"),
        pytest.param(pointing("{revision}"), id="not an attempt"),
        pytest.param({"revision": "89abcdef"}, id="another revision"),
        pytest.param({"digest": "0" * 64}, id="another digest"),
        pytest.param(
            {"files": [FileDigest(path="a/../../b", size=1, sha256="0" * 64)]}, id="dots in a file"
        ),
    ],
)
async def test_a_commit_that_points_elsewhere_is_refused(
    artifacts: Artifacts, revision: Revision, changes: dict[str, object]
) -> None:
    """It comes from a tenant's pod: neither operator nor pool may follow it out of its folder."""
    if "prefix" in changes:
        prefix = str(changes["prefix"]).replace("{revision}", revision.place.prefix)
        changes = {"prefix": prefix}
    await revision.publish(revision.commit(**changes))
    found = await artifacts.read_commit(revision.place)
    assert isinstance(found, FailureStatus)
    assert found.reason == Reason.ARTIFACT_CORRUPT


@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b"{}", b'{"contract": 2}', b"\xff\xfe", b" " * (MAX_DOCUMENT + 1)],
    ids=["empty", "text", "no fields", "version", "bytes", "too large"],
)
async def test_a_broken_commit_is_told(
    artifacts: Artifacts, revision: Revision, body: bytes
) -> None:
    await revision.publish(body)
    found = await artifacts.read_commit(revision.place)
    assert isinstance(found, FailureStatus)
    assert found.reason == Reason.ARTIFACT_CORRUPT


@pytest.mark.parametrize("body", [b"{", b"x" * (MAX_DOCUMENT + 1)], ids=["text", "too large"])
async def test_broken_progress_is_no_progress(
    store: ObjectStore, artifacts: Artifacts, folder: S3Location, body: bytes
) -> None:
    attempt = folder.join("attempts", "pod-1")
    await store.put_if(attempt.join(layout.PROGRESS), body, None)
    assert await artifacts.read_progress(attempt) is None
    found = await store.get(attempt.join(layout.PROGRESS))
    assert found is not None
    await store.put_if(attempt.join(layout.PROGRESS), build_progress().to_json(), found.etag)
    assert isinstance(await artifacts.read_progress(attempt), Progress)


# --- pointers and indexes


async def test_a_pointer_is_moved_by_its_etag(
    store: ObjectStore, artifacts: Artifacts, folder: S3Location
) -> None:
    place = folder.join("aliases", "team-a.bot", "current.json")
    first = build_current(FT, build_commit(FT, "0123abcd"))
    assert await artifacts.read_alias(place) is None
    assert await artifacts.swap_alias(place, first, None)
    read = await artifacts.read_alias(place)
    assert read is not None
    assert read.current == first
    second = build_current(FT, build_commit(FT, "89abcdef"))
    assert await artifacts.swap_alias(place, second, read.etag)
    assert not await artifacts.swap_alias(place, first, read.etag)


@pytest.mark.parametrize(
    "body",
    [
        b"nonsense",
        build_current(FT, build_commit(FT), alias="another").to_json(),
        build_current(FT, build_commit(FT), revision="../../team-b").to_json(),
        build_current(FT, build_commit(FT), previous_revision="x" * 5000).to_json(),
        build_current(FT, build_commit(FT), promoted="yesterday").to_json(),
        b"x" * (MAX_DOCUMENT + 1),
    ],
    ids=["text", "alias", "revision", "previous", "time", "too large"],
)
async def test_what_is_no_pointer_can_be_overwritten(
    store: ObjectStore, artifacts: Artifacts, folder: S3Location, body: bytes
) -> None:
    """A tenant's key can write there. It must neither be followed nor block every promotion."""
    place = folder.join("aliases", "team-a.bot", "current.json")
    await store.put_if(place, body, None)
    read = await artifacts.read_alias(place)
    assert read is not None
    assert read.current is None
    good = build_current(FT, build_commit(FT))
    assert await artifacts.swap_alias(place, good, read.etag)
    again = await artifacts.read_alias(place)
    assert again is not None
    assert again.current == good


async def test_a_broken_index_is_overwritten(
    store: ObjectStore, artifacts: Artifacts, folder: S3Location
) -> None:
    place = folder.join("pools", "p", "index.json")
    index = PoolIndex(
        namespace="team-a",
        pool="p",
        base_model="a/b",
        max_rank=8,
        adapters=[],
        aliases={},
        serial=1,
    )
    assert await artifacts.read_index(place) == (None, None)
    await store.put_if(place, b"nonsense", None)
    found, etag = await artifacts.read_index(place)
    assert found is None
    assert await artifacts.write_index(place, index, etag)
    assert not await artifacts.write_index(place, index, etag)
    assert (await artifacts.read_index(place))[0] == index


# --- adapters without a commit


async def upload(store: ObjectStore, folder: S3Location, files: dict[str, bytes]) -> str:
    """An adapter as PEFT saves it; its digest."""
    for path, body in files.items():
        assert await store.put_if(folder.join(path), body, None)
    return adapter_digest(
        [FileDigest(path=p, size=len(b), sha256=sha256(b)) for p, b in files.items()]
    )


async def test_a_folder_is_an_adapter_by_its_digest(
    artifacts: Artifacts, store: ObjectStore, folder: S3Location
) -> None:
    """Whatever lies beside it, and however large its files are."""
    config = b'{"r": 16, "base_model_name_or_path": "Qwen/Qwen3-8B", "peft_type": "LORA"}'
    large = bytes(range(256)) * 12_345
    one = folder.join("one")
    assert await artifacts.foreign.read(one, "0" * 64) is None
    digest = await upload(
        store, one, {"adapter_config.json": config, "adapter_model.safetensors": large}
    )
    assert await store.put_if(folder.join("one-more", "x"), b"x", None)
    found = await artifacts.foreign.read(one, digest)
    assert isinstance(found, StoredAdapter)
    assert (found.rank, found.base_model) == (16, "Qwen/Qwen3-8B")
    assert {f.path: f.size for f in found.files} == {
        "adapter_config.json": len(config),
        "adapter_model.safetensors": len(large),
    }
    other = await artifacts.foreign.read(one, "0" * 64)
    assert isinstance(other, FailureStatus)
    assert other.reason == Reason.ARTIFACT_CORRUPT


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"adapter_model.safetensors": b"x"}, "adapter_config.json"),
        ({"adapter_config.json": b"[]"}, "adapter_config.json"),
        ({"adapter_config.json": b" " * 70_000}, "adapter_config.json"),
        ({f"{n}.safetensors": b"x" for n in range(65)}, "over 64 files"),
        ({".hidden": b"x"}, "'.hidden'"),
    ],
)
async def test_a_folder_that_is_no_adapter(
    artifacts: Artifacts,
    store: ObjectStore,
    folder: S3Location,
    files: dict[str, bytes],
    words: str,
) -> None:
    content = [FileDigest(path="a", size=0, sha256=sha256(b""))]
    try:
        content = [FileDigest(path=p, size=len(b), sha256=sha256(b)) for p, b in files.items()]
    except ValidationError:
        assert ".hidden" in files
    for path, body in files.items():
        assert await store.put_if(folder.join(path), body, None)
    found = await artifacts.foreign.read(folder, adapter_digest(content))
    assert isinstance(found, FailureStatus)
    assert found.reason == Reason.ARTIFACT_REFUSED
    assert words in found.message


# --- exports


async def test_an_export_is_read_when_it_is_about_this_result(
    store: ObjectStore, folder: S3Location
) -> None:
    revision = folder.join("revisions", build_commit(FT).revision)
    commit, artifacts = build_commit(FT), Artifacts(store)
    place = revision.join(layout.EXPORTS, "merged", layout.EXPORT_MANIFEST)
    assert await artifacts.read_export(revision, commit, "merged") is None
    prefix = f"{layout.export_prefix(revision.prefix, 'merged')}/uid-export-0"
    export = build_export(FT, "merged").model_copy(update={"prefix": prefix})
    foreign = export.model_copy(update={"adapter_digest": "0" * 64})
    for body in (b"not JSON", foreign.to_json()):
        await store.delete_prefix(revision)
        assert await store.put_if(place, body, None)
        found = await artifacts.read_export(revision, commit, "merged")
        assert isinstance(found, FailureStatus)
        assert found.reason == Reason.ARTIFACT_CORRUPT
    await store.delete_prefix(revision)
    assert await store.put_if(place, export.to_json(), None)
    good = await artifacts.read_export(revision, commit, "merged")
    assert isinstance(good, Export)
    assert good == export
