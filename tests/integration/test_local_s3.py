"""The object store does what the operator relies on: conditions, identities, prefixes."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from qwen3_local import s3
from qwen3_local.layout import Home
from qwen3_local.programs import stop_recorded
from support.ports import free_ports

WRITERS = 16


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.S3Server]:
    """A server of its own, with two tenants."""
    folder = tmp_path_factory.mktemp("s3")
    started = s3.start(
        Home(folder / "home"), address=s3.LOOPBACK, port=free_ports(8), folder=folder / "s3"
    )
    for tenant in ("red", "blue"):
        pair = s3.Credentials(tenant, f"{tenant}-secret")
        s3.ensure_identity(started, tenant, pair, s3.tenant_actions(tenant))
    yield started
    stop_recorded(started.folder / "run" / "seaweedfs.json", grace_seconds=1)


def client(server: s3.S3Server, access_key: str, secret_key: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(retries={"max_attempts": 1}),
    )


@pytest.fixture
def operator(server: s3.S3Server) -> Any:
    return client(server, server.credentials.access_key, server.credentials.secret_key)


@pytest.fixture
def red(server: s3.S3Server) -> Any:
    return client(server, "red", "red-secret")


def status(call: Callable[[], Any]) -> int:
    """HTTP status of a request, whether it succeeded or not."""
    try:
        return int(call()["ResponseMetadata"]["HTTPStatusCode"])
    except ClientError as error:
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def put(target: Any, key: str, body: bytes = b"1", **conditions: str) -> int:
    return status(lambda: target.put_object(Bucket="qwen3", Key=key, Body=body, **conditions))


def test_second_create_is_refused(red: Any) -> None:
    assert put(red, "qwen3/red/created", IfNoneMatch="*") == 200
    assert put(red, "qwen3/red/created", IfNoneMatch="*") == 412


def test_replacing_needs_the_present_etag(red: Any) -> None:
    key = "qwen3/red/replaced"
    assert put(red, key, b"old") == 200
    etag = red.head_object(Bucket="qwen3", Key=key)["ETag"]
    assert put(red, key, b"new", IfMatch='"0123"') == 412
    assert put(red, key, b"new", IfMatch=etag) == 200
    assert put(red, key, b"newer", IfMatch=etag) == 412
    assert put(red, "qwen3/red/never-there", IfMatch=etag) in (404, 412)


@pytest.mark.parametrize("attempt", range(5))
def test_one_of_many_concurrent_creators_wins(red: Any, attempt: int) -> None:
    key = f"qwen3/red/race-{attempt}"
    with ThreadPoolExecutor(WRITERS) as pool:
        answers = list(pool.map(lambda _: put(red, key, IfNoneMatch="*"), range(WRITERS)))
    assert sorted(answers) == [200] + [412] * (WRITERS - 1)


@pytest.mark.parametrize("attempt", range(5))
def test_one_of_many_concurrent_replacers_wins(red: Any, attempt: int) -> None:
    key = f"qwen3/red/flip-{attempt}"
    put(red, key, b"old")
    etag = red.head_object(Bucket="qwen3", Key=key)["ETag"]

    def replace(number: int) -> int:
        return put(red, key, f"new {number}".encode(), IfMatch=etag)

    with ThreadPoolExecutor(WRITERS) as pool:
        answers = list(pool.map(replace, range(WRITERS)))
    assert sorted(answers) == [200] + [412] * (WRITERS - 1)


def test_wrong_and_unknown_keys_are_refused(server: s3.S3Server) -> None:
    for pair in (("red", "wrong"), ("nobody", "red-secret")):
        assert put(client(server, *pair), "qwen3/red/x") == 403


def test_nobody_gets_in_without_a_key(server: s3.S3Server) -> None:
    anonymous = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        config=Config(signature_version=UNSIGNED),
    )
    assert status(lambda: anonymous.list_objects_v2(Bucket="qwen3")) == 403


def test_tenant_reaches_its_own_prefix_only(operator: Any, red: Any) -> None:
    for key in ("qwen3/blue/x", "qwen3/redder/x", "models/m/config.json"):
        assert put(operator, key) == 200
    assert put(red, "qwen3/red/x") == 200
    for key, expected in {
        "qwen3/red/x": 200,
        "qwen3/blue/x": 403,
        "qwen3/redder/x": 403,
        "models/m/config.json": 200,
    }.items():
        assert status(lambda k=key: red.get_object(Bucket="qwen3", Key=k)) == expected, key
    for prefix, expected in {
        "qwen3/red/": 200,
        "models/": 200,
        "qwen3/blue/": 403,
        "": 403,
    }.items():
        found = status(lambda p=prefix: red.list_objects_v2(Bucket="qwen3", Prefix=p))
        assert found == expected, prefix
    assert put(red, "qwen3/blue/x") == 403
    assert put(red, "models/m/config.json") == 403
    assert status(lambda: red.delete_object(Bucket="qwen3", Key="qwen3/blue/x")) == 403
    copy = {"Bucket": "qwen3", "Key": "qwen3/blue/x"}
    assert (
        status(lambda: red.copy_object(Bucket="qwen3", Key="qwen3/red/stolen", CopySource=copy))
        == 403
    )


def test_missing_bucket_is_not_made_on_the_fly(operator: Any) -> None:
    assert status(lambda: operator.put_object(Bucket="typo", Key="x", Body=b"1")) == 404


def test_identity_changes_take_effect_without_a_restart(server: s3.S3Server) -> None:
    pair = s3.Credentials("green", "green-secret")
    green = client(server, pair.access_key, pair.secret_key)
    assert put(green, "qwen3/green/x") == 403
    s3.ensure_identity(server, "green", pair, s3.tenant_actions("green"))
    assert put(green, "qwen3/green/x") == 200
    s3.ensure_identity(server, "green", pair, ["Read:qwen3/qwen3/green/*"])
    assert put(green, "qwen3/green/x") == 403
    s3.remove_identity(server, "green")
    assert status(lambda: green.get_object(Bucket="qwen3", Key="qwen3/green/x")) == 403
