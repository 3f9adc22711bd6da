"""Operator to the pods of a pool: `ServerConfig`, mounted as JSON, and the pod's fixed paths.

Everything here holds for the pool as a whole; what belongs to one pod (its name, its credentials)
comes by environment.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from qwen3_api.job.base import Document, S3Location
from qwen3_api.job.train import ModelSource

# Paths in the pod, agreed between its containers and the operator's builder.
SERVER_CONFIG_FILE = "/etc/qwen3/server.json"
"""`ServerConfig`, from a ConfigMap."""
MODELS_DIR = "/models"
"""emptyDir, written by fetch-base and read by vLLM."""
BASE_MODEL_DIR = "/models/base"
"""The argument of vLLM's --model."""
ADAPTERS_DIR = "/adapters"
"""emptyDir of the verified adapters, one folder per digest; written by the agent and read by
vLLM."""
RUN_DIR = "/run/qwen3"
"""emptyDir (memory) with routes.json and agent.token, written by the agent and read by vLLM."""

# Environment.
ENV_POD_NAME = "QWEN3_POD_NAME"
"""metadata.name by the downward API; the agent reports it."""
ENV_RUN_DIR = "QWEN3_RUN_DIR"
"""Folder of the agent's files for the gateway inside vLLM; default RUN_DIR."""
ENV_MAX_BODY_BYTES = "QWEN3_MAX_BODY_BYTES"
"""Largest request body that the gateway reads; default 16 MiB."""
ENV_REQUEST_LIMITS = "QWEN3_REQUEST_LIMITS"
"""`RequestLimits` as JSON, for the gateway; omitted fields have their defaults."""

GATEWAY_CLASS = "qwen3_server.gateway.Gateway"
"""The argument of vLLM's --middleware."""
REASONING_PARSER = "qwen3_template"
"""The argument of vLLM's --reasoning-parser, registered by REASONING_PARSER_MODULE."""
REASONING_PARSER_MODULE = "qwen3_server.reasoning_parser"
"""The argument of vLLM's --reasoning-parser-plugin."""
TOOL_PARSER = "hermes"
"""The argument of vLLM's --tool-call-parser: Qwen3 writes tool calls as Hermes does."""

# Headers that the gateway sets.
MODEL_ID_HEADER = "x-qwen3-model-id"
"""On a response: the immutable id (or the base model's name) that answered."""


class RequestLimits(Document):
    """Limits of a single request."""

    max_sequences: int = Field(default=32, ge=1, le=4096)
    """Maximum number of answers per request: its prompts times its `n` (or `best_of`)."""
    max_tokens: int = Field(default=32768, ge=1, le=1_048_576)
    """Maximum tokens per answer, including reasoning; also the default of requests without a
    limit."""
    max_prompt_logprobs: int = Field(default=5, ge=0, le=20)
    """Maximum alternatives per prompt token (`prompt_logprobs`, or `logprobs` with `echo`)."""


class ServerConfig(Document):
    """Configuration of a pod of a pool."""

    contract: Literal[1] = 1
    namespace: str
    pool: str
    base_model: str
    """Served name of the base model; every adapter must name it as its base."""
    source: ModelSource
    """Source of the weights for fetch-base."""
    index: S3Location
    """The object `index.json` (`layout.pool_index_key`): the prefix is its whole key."""
    max_rank: int
    """vLLM's --max-lora-rank."""
    poll_seconds: float = Field(default=2.0, ge=0.2, le=60)
    """Poll interval of the index, in seconds."""
    drain_seconds: float = Field(default=5.0, ge=0, le=600)
    """Time that an adapter stays loaded after its removal from index and routes, in seconds."""
    max_adapter_bytes: int = Field(default=4 * 1024**3, gt=0)
    """Maximum size of an adapter, in bytes."""
    smoke_prompt: Annotated[str, StringConstraints(min_length=1, max_length=256)] = "Hello"
    """Prompt of the smoke test: an adapter must generate one token for it before it is routed."""
