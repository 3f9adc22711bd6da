"""Sources of rows: a module for each opens its files, named like the type of its document in small
letters. The declarations are `qwen3_api.data_sources`."""

from importlib import import_module

from qwen3_api.data_sources import DataSource
from qwen3_trainer.data.sources.base import OpenFile
from qwen3_trainer.store import Buckets


def open_file(source: DataSource, buckets: Buckets) -> OpenFile:
    """The file of a source. Raises FailureError (DatasetNotFound, the store's)."""
    module = import_module(f"{__name__}.{source.type.lower()}")
    opened: OpenFile = module.open_file(source, buckets)
    return opened
