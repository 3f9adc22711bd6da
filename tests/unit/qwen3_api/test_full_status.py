"""The statuses that the API server is given in integration tests hold all that a model can say."""

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from support.api_status import EVAL_STATUS, FINE_TUNE_STATUS


def unset(value: object, path: str) -> Iterator[str]:
    """Fields that are left out or empty."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from unset(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list) and value:
        yield from unset(value[0], f"{path}[]")
    elif value is None or value == []:
        yield path


@pytest.mark.parametrize("status", [FINE_TUNE_STATUS, EVAL_STATUS], ids=["FineTune", "Eval"])
def test_every_field_is_set(status: BaseModel) -> None:
    assert list(unset(status, "status")) == []
