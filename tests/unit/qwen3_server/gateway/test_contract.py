"""The names of modules that manifests of pools carry: a pool that runs must find them."""

import importlib
from importlib.util import find_spec

from qwen3_api.serving.config import GATEWAY_CLASS, REASONING_PARSER_MODULE
from qwen3_server.gateway.app import Gateway


def test_the_contract_names_the_gateway_and_the_parser() -> None:
    module, _, name = GATEWAY_CLASS.rpartition(".")
    assert getattr(importlib.import_module(module), name) is Gateway
    assert find_spec(REASONING_PARSER_MODULE) is not None
    assert GATEWAY_CLASS == "qwen3_server.gateway.Gateway", "a change restarts every pool"
