"""Base of the documents exchanged with pods."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

CONTRACT: Literal[1] = 1
"""Version of the contract. A reader rejects any other."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def listed(enum: type[StrEnum], title: str) -> Any:
    """Marks a field of an enum whose members stand in the field's own schema."""
    return WithJsonSchema(
        {"enum": [str(member) for member in enum], "title": title, "type": "string"}
    )


class Document(BaseModel):
    """A strict, immutable JSON document in snake_case; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def to_json(self) -> bytes:
        """The document as UTF-8 JSON with sorted structure as declared."""
        return self.model_dump_json(indent=1).encode()


class S3Location(Document):
    """A bucket and a key prefix in it."""

    endpoint: str | None
    """URL of the object store; None is AWS."""
    region: str | None
    bucket: str
    prefix: str = ""
    """Key prefix without a trailing slash; for an object, its whole key."""

    @property
    def uri(self) -> str:
        """s3://bucket/prefix."""
        return f"s3://{self.bucket}/{self.prefix}"

    def at_uri(self, uri: str) -> "S3Location":
        """The object of s3://bucket/key at this location's endpoint, without a trailing slash."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self.model_copy(update={"bucket": bucket, "prefix": key.rstrip("/")})

    def join(self, *parts: str) -> "S3Location":
        """The location below this one."""
        return self.model_copy(update={"prefix": "/".join(p for p in (self.prefix, *parts) if p)})


def advise(message: str, hint: str) -> str:
    """The message, followed by the hint if there is one."""
    return f"{message}. {hint}" if hint else message


class Failure(Document):
    """Failure of a pod; also the JSON of its termination message (at most 4 KiB)."""

    reason: str
    """A member of qwen3_api.v1alpha1.conditions.Reason."""
    message: str = Field(max_length=1024)
    hint: str = Field(default="", max_length=1024)
    step: int | None = None
    """Optimizer step of the failure."""

    @property
    def advice(self) -> str:
        """Message and hint."""
        return advise(self.message, self.hint)


class FileDigest(Document):
    """A file of a commit or a checkpoint."""

    path: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-/]*$", max_length=512)
    """Path relative to the folder that the document describes."""
    size: int = Field(ge=0)
    """Bytes."""
    sha256: Sha256
