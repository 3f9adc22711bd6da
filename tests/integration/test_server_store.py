"""What a pool pod reads from a real object store arrives whole, or with a reason."""

from collections.abc import Iterator

import pytest

from qwen3_server.errors import StorageError
from qwen3_server.store import Store
from support.pool_pod import NAMESPACE, Bucket
from support.ports import free_ports

pytestmark = pytest.mark.integration

KEY = f"qwen3/{NAMESPACE}/pools/p/index.json"
MIB = 1024**2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    found = Bucket.start(tmp_path_factory.mktemp("bucket"), free_ports(8))
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def bucket(server: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.tenant.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.tenant.secret_key)
    return server


async def test_an_object_of_many_packets_is_read_whole(bucket: Bucket) -> None:
    content = b"0123456789abcdef" * (4 * MIB // 16)
    await bucket.put(KEY, content)
    async with Store() as store:
        fetched = await store.read_if_changed(bucket.location(KEY), None)
        assert fetched is not None
        assert len(fetched.content) == len(content)
        assert fetched.content == content
        assert await store.read_if_changed(bucket.location(KEY), fetched.etag) is None


async def test_more_than_an_index_can_have_is_refused(bucket: Bucket) -> None:
    await bucket.put(KEY, bytes(9 * MIB))
    async with Store() as store:
        with pytest.raises(StorageError, match="has more than 8388608 bytes"):
            await store.read_if_changed(bucket.location(KEY), None)
