"""Which client the operator opens for a bucket, and what the answers of a store mean."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from qwen3_api.job.base import S3Location
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_operator.settings import Settings
from qwen3_operator.store.client import ObjectStore, StorageProblem, open_client
from support.web_server import serve_app

if TYPE_CHECKING:
    from obstore.store import S3Config

WRONG = "<Error><Code>{}</Code><Message>wrong</Message>{}</Error>"
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

    def __init__(self, status: int = 404, body: str = "") -> None:
        self.status, self.body = status, body
        self.regions: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        """The same to everybody."""
        scope = re.search(r"Credential=\w+/\d+/([\w-]+)/s3/", request.headers["Authorization"])
        assert scope is not None
        self.regions.append(scope.group(1))
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
