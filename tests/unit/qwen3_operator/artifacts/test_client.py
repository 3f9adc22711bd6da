"""Which client the operator opens for a bucket, and what the answers of a store mean."""

import re
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from qwen3_api.job.base import S3Location
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_operator.artifacts.client import ObjectStore, StorageProblem, open_client
from qwen3_operator.controller.errors import OperatorError, Transient
from qwen3_operator.settings import Settings
from support.web_server import serve_app

if TYPE_CHECKING:
    from obstore.store import S3Config

WRONG = "<Error><Code>{}</Code><Message>wrong</Message>{}</Error>"
ABSENT = WRONG.format("NoSuchKey", "")
EXPECTED = "<Region>eu-west-1</Region>"


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        (None, {"virtual_hosted_style_request": "true"}),
        (
            "http://s3.test:8333",
            {"endpoint": "http://s3.test:8333", "virtual_hosted_style_request": "false"},
        ),
    ],
    ids=["AWS", "another store"],
)
def test_every_store_can_be_opened(endpoint: str | None, told: dict[str, str]) -> None:
    keys: S3Config = {"access_key_id": "a", "secret_access_key": "b"}
    client = open_client(endpoint, "eu-west-1", "qwen3", keys)
    assert client.config == {"bucket": "qwen3", "region": "eu-west-1", **keys, **told}


class Bucket:
    """Answers every request alike and remembers the region that it was signed for."""

    def __init__(self, status: int = 404, body: str = ABSENT) -> None:
        self.status, self.body = status, body
        self.regions: list[str] = []
        self.keys: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        """The same to everybody."""
        found = re.search(r"Credential=(\w+)/\d+/([\w-]+)/s3/", request.headers["Authorization"])
        assert found is not None
        self.keys.append(found.group(1))
        self.regions.append(found.group(2))
        return web.Response(status=self.status, text=self.body, content_type="application/xml")

    def build_app(self) -> web.Application:
        """All paths lead here."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        return app


def build_store(folder: Path, endpoint: str, region: str | None) -> ObjectStore:
    """An operator with one store."""
    (folder / "AWS_ACCESS_KEY_ID").write_text("a")
    (folder / "AWS_SECRET_ACCESS_KEY").write_text("b")
    store = {"endpoint": endpoint, "region": region, "credentialsDir": str(folder)}
    return ObjectStore(
        Settings.model_validate(
            {
                "images": {"trainer": "t", "server": "s", "evaluator": "e"},
                "storage": {"default": store},
            }
        )
    )


async def test_a_bucket_is_asked_in_its_region(tmp_path: Path) -> None:
    bucket = Bucket()
    async with serve_app(bucket.build_app()) as endpoint:
        for platform in (None, "eu-north-1"):
            store = build_store(tmp_path, endpoint, platform)
            for region in ("eu-west-1", None, "eu-central-1"):
                place = S3Location(endpoint=endpoint, region=region, bucket="b", prefix="k")
                assert await store.get(place) is None
    assert bucket.regions == [
        *("eu-west-1", "us-east-1", "eu-central-1"),
        *("eu-west-1", "eu-north-1", "eu-central-1"),
    ]


@pytest.mark.parametrize(
    ("status", "body", "where"),
    [
        (400, WRONG.format("AuthorizationHeaderMalformed", EXPECTED), " but in eu-west-1"),
        (400, WRONG.format("IllegalLocationConstraintException", ""), ""),
        (301, WRONG.format("PermanentRedirect", EXPECTED), ""),
    ],
    ids=["malformed", "illegal", "redirect"],
)
async def test_a_wrong_region_is_told(tmp_path: Path, status: int, body: str, where: str) -> None:
    bucket = Bucket(status, body)
    async with serve_app(bucket.build_app()) as endpoint:
        store = build_store(tmp_path, endpoint, None)
        place = S3Location(endpoint=endpoint, region="eu-south-1", bucket="b", prefix="k")
        for call in (
            store.get(place),
            store.put_if(place, b"x", None),
            store.list_folder(place, 9),
        ):
            with pytest.raises(StorageProblem) as raised:
                await call
            problem = raised.value.problem
            assert problem.reason == Reason.STORAGE_DENIED
            assert problem.message.startswith(f"bucket b isn't in region eu-south-1{where}: ")
            assert "spec.artifacts.s3.region" in problem.hint
    assert set(bucket.regions) == {"eu-south-1"}


def calls(store: ObjectStore, place: S3Location) -> Iterator[Awaitable[object]]:
    """Every verb, one after the other."""
    yield store.get(place)
    yield anext(store.stream(place))
    yield store.put_if(place, b"x", None)
    yield store.put_if(place, b"x", '"etag"')
    yield store.list_folder(place, 9)
    yield store.delete_prefix(place)


DENIED, MISSING, OUTAGE = Reason.STORAGE_DENIED, Reason.BUCKET_NOT_FOUND, None


@pytest.mark.parametrize(
    ("status", "code", "reason", "hint"),
    [
        (403, "InvalidAccessKeyId", DENIED, "rotate the operator's key"),
        (403, "SignatureDoesNotMatch", DENIED, "rotate the operator's key"),
        (400, "ExpiredToken", DENIED, "rotate the operator's key"),
        (400, "InvalidToken", DENIED, "rotate the operator's key"),
        (400, "TokenRefreshRequired", DENIED, "rotate the operator's key"),
        (403, "AccessDenied", DENIED, "to read, write, list and delete"),
        (403, "AllAccessDisabled", DENIED, "to allow the key"),
        (403, "UserSuspended", DENIED, "to allow the key"),
        (401, "Unauthorized", DENIED, "to allow the key"),
        (403, "", DENIED, "to allow the key"),
        (403, "RequestTimeTooSkewed", DENIED, "correct the clock"),
        (404, "NoSuchBucket", MISSING, "Create the bucket"),
        (404, "", OUTAGE, ""),
        (400, "RequestTimeout", OUTAGE, ""),
        (503, "SlowDown", OUTAGE, ""),
    ],
)
async def test_what_an_answer_means(
    tmp_path: Path, status: int, code: str, reason: Reason | None, hint: str
) -> None:
    """A 404 without a code is a proxy's: taken for a missing COMMIT.json it would retrain."""
    bucket = Bucket(status, WRONG.format(code, "") if code else "nothing here")
    async with serve_app(bucket.build_app()) as endpoint:
        store = build_store(tmp_path, endpoint, None)
        place = S3Location(endpoint=endpoint, region=None, bucket="b", prefix="k")
        for call in calls(store, place):
            with pytest.raises(OperatorError) as raised:
                await call
            if reason is None:
                assert isinstance(raised.value, Transient)
                continue
            assert isinstance(raised.value, StorageProblem)
            problem = raised.value.problem
            assert problem.reason == reason
            assert code in problem.message or reason is MISSING
            assert hint in problem.hint
            assert problem.retriable
            assert raised.value.recheck is not None, "no event reports that the store accepts again"


async def test_a_rotated_key_is_taken_when_the_old_one_is_refused(tmp_path: Path) -> None:
    bucket = Bucket(403, WRONG.format("InvalidAccessKeyId", ""))
    async with serve_app(bucket.build_app()) as endpoint:
        store = build_store(tmp_path, endpoint, None)
        place = S3Location(endpoint=endpoint, region=None, bucket="b", prefix="k")

        async def ask() -> None:
            with pytest.raises(StorageProblem):
                await store.get(place)

        await ask()
        (tmp_path / "AWS_ACCESS_KEY_ID").write_text("new")
        await ask()
        await ask()
        (tmp_path / "AWS_SECRET_ACCESS_KEY").unlink()
        await ask()
        assert bucket.keys == ["a", "a", "new", "new"]
        (tmp_path / "AWS_SECRET_ACCESS_KEY").write_text("b")
        (tmp_path / "AWS_ACCESS_KEY_ID").write_text("newer")
        bucket.status, bucket.body = 404, ABSENT
        assert await store.get(place) is None
        assert bucket.keys[4:] == ["new"], "as long as it is good, no file is looked at"
