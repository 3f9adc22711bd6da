"""`ExportJob` and `Export`: a committed adapter as a merged model, and as GGUF files.

Every artifact is written once, by the first pod, and never replaced: its manifest is stored at
`layout.export_prefix(revision, name)`/EXPORT.json, and its files in that pod's folder beside it.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from qwen3_api.job.base import CONTRACT, Document, FileDigest, S3Location, Sha256
from qwen3_api.job.report import PodUid, Text
from qwen3_api.job.train import JobBaseModel, StartAdapter
from qwen3_api.v1alpha1.export import Quantization

MERGED = "merged"
"""Artifact name of the merged 16-bit model."""
GGUF = "gguf-"
"""Prefix of the names of GGUF artifacts."""


def gguf_name(quantization: Quantization) -> str:
    """Name of a GGUF artifact, for example gguf-q4_k_m."""
    return f"{GGUF}{quantization.value}"


class ExportJob(Document):
    """Job spec of the export, mounted as JSON at `layout.JOB_FILE`."""

    contract: Literal[1] = CONTRACT
    namespace: str
    name: str
    uid: str
    revision: str
    spec_hash: str
    base_model: JobBaseModel
    base_commit: str
    """Base commit that the adapter was trained on (`Provenance.base_commit`); another base is
    rejected."""
    adapter: StartAdapter
    """The committed adapter."""
    merged: bool
    """Whether the merged 16-bit model is an artifact."""
    gguf: list[Quantization]
    thinking: Literal["AsInData", "Enabled", "Disabled"]
    """Decides the Modelfile's template and sampling parameters."""
    output: S3Location
    """Folder of the revision (`layout.revision_prefix`)."""

    @property
    def artifacts(self) -> list[str]:
        """Names of the requested artifacts."""
        return ([MERGED] if self.merged else []) + [gguf_name(q) for q in self.gguf]


class Export(Document):
    """`EXPORT.json`: an artifact that is complete in the bucket, written with If-None-Match."""

    contract: Literal[1] = CONTRACT
    artifact: Text
    """merged, or gguf- and the type."""
    spec_hash: str
    revision: str
    attempt: PodUid
    prefix: Annotated[str, StringConstraints(max_length=1024)]
    """Key prefix of its folder, which holds exactly `files`."""
    files: list[FileDigest] = Field(min_length=1, max_length=512)
    digest: Sha256
    """`report.adapter_digest(files)`."""
    adapter_digest: Sha256
    """Digest of the exported adapter."""
    base_commit: Text
    tensor_types: dict[Text, int] = Field(default={}, max_length=32)
    """Number of tensors of a GGUF file by type; llama.cpp falls back to another type if the rows
    aren't a multiple of its block size."""
    versions: dict[str, Text] = Field(default={}, max_length=64)
    written: Text

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)
