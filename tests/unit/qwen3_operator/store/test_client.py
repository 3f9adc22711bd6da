"""Which client the operator opens for a bucket, and what the answers of a store mean."""

from typing import TYPE_CHECKING

import pytest

from qwen3_operator.settings import Store
from qwen3_operator.store.client import open_client

if TYPE_CHECKING:
    from obstore.store import S3Config


@pytest.mark.parametrize(
    ("store", "told"),
    [
        (Store(), {"region": "us-east-1", "virtual_hosted_style_request": "true"}),
        (
            Store(region="eu-west-1"),
            {"region": "eu-west-1", "virtual_hosted_style_request": "true"},
        ),
        (
            Store(endpoint="http://s3.test:8333"),
            {
                "endpoint": "http://s3.test:8333",
                "region": "us-east-1",
                "virtual_hosted_style_request": "false",
            },
        ),
    ],
    ids=["AWS", "AWS in a region", "another store"],
)
def test_every_store_of_the_settings_can_be_opened(store: Store, told: dict[str, str]) -> None:
    keys: S3Config = {"access_key_id": "a", "secret_access_key": "b"}
    client = open_client(store, "qwen3", keys)
    assert client.config == {"bucket": "qwen3", **keys, **told}
