"""Exports of the model: `spec.export`, and their status."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from qwen3_api.v1alpha1.meta import KubeModel, ListSet, ShortText, StatusModel


class Quantization(StrEnum):
    """Tensor types of a GGUF file, as llama.cpp and Ollama write them."""

    BF16 = "bf16"
    F16 = "f16"
    Q8_0 = "q8_0"
    Q6_K = "q6_k"
    Q5_K_M = "q5_k_m"
    Q5_K_S = "q5_k_s"
    Q4_K_M = "q4_k_m"
    Q4_K_S = "q4_k_s"
    Q4_0 = "q4_0"
    Q3_K_M = "q3_k_m"


class ExportSpec(KubeModel):
    """Exports of every result. Not a training input: a change never retrains."""

    gguf: Annotated[list[Quantization], Field(min_length=1, max_length=10), ListSet()]
    """gguf: types of GGUF files of the merged model, for llama.cpp, each with a Modelfile for
    Ollama."""


class ExportStatus(StatusModel):
    """One artifact of a revision that is complete in the bucket."""

    name: ShortText
    """name: merged, or gguf- and the type."""
    uri: Annotated[str, Field(max_length=1024)]
    """uri of its folder."""
    digest: ShortText
    """digest: sha256 over the names and digests of its files."""
    size_bytes: int
    """sizeBytes of all of its files."""
