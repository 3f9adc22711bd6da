"""The gateway inside vLLM. `GATEWAY_CLASS` of the serving contract names `Gateway` here."""

from qwen3_server.gateway.app import Gateway

__all__ = ["Gateway"]
