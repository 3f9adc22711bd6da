"""Is this adapter what the index says, and may vLLM have it? Checks of names, bytes and tensors.

`check_declared` needs the index entry alone, `check_files` and `check_content` the downloaded
folder. All raise AdapterError: ArtifactCorrupt where the files are not the committed ones,
ArtifactRefused where they are and break a rule.

`check_content` parses what a tenant wrote, so the agent runs it in a process of its own
(`content_check`); the others only compare names, sizes and digests.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from qwen3_api.job.adapter_files import (
    HEADER_LENGTH_BYTES,
    MAX_CONFIG_BYTES,
    MAX_FILES,
    MAX_HEADER_BYTES,
    find_header_problem,
)
from qwen3_api.job.base import Document, Failure, FileDigest
from qwen3_api.job.report import adapter_digest
from qwen3_api.serving.pool import PoolAdapter
from qwen3_api.v1alpha1.training import ALL_LINEAR
from qwen3_server.checks.adapter_config import check_adapter_config
from qwen3_server.errors import corrupt, refused

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
"""The one weight file that vLLM reads."""
MAX_README_BYTES = 1024**2
MAX_TENSORS = 2 * len(ALL_LINEAR) * 256
"""Two for each projection of four times as many layers as the largest dense Qwen3 has."""
MAX_METADATA_BYTES = 64 * 1024
"""Of a weight file's own notes; PEFT writes `format: pt`."""


class Verdict(Document):
    """What came out of `check_content` in a process of its own."""

    failure: Failure | None
    """None: the adapter may be loaded."""


_NAME = re.compile(r"(adapter_config\.json|README\.md|[A-Za-z0-9][A-Za-z0-9_\-]*\.safetensors)")
_TENSOR = re.compile(
    r"base_model\.model\.model\.layers\.\d{1,4}\.(self_attn|mlp)\."
    r"(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)\.lora_(?P<side>[AB])\.weight"
)
_DTYPES = frozenset({"F16", "BF16", "F32"})
_CHUNK = 1024**2


def check_declared(adapter: PoolAdapter, max_bytes: int) -> None:
    """Check the list of files before anything is downloaded."""
    names = [file.path for file in adapter.files]
    if len(names) > MAX_FILES:
        raise refused(f"the adapter has {len(names)} files, {MAX_FILES} are allowed")
    for name in names:
        if not _NAME.fullmatch(name):
            raise refused(f"file {name!r} is not allowed in an adapter (safetensors only)")
    if len(set(names)) != len(names):
        raise refused("a file is named twice")
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if name not in names:
            raise corrupt(f"{name} is missing from the commit")
    for file in adapter.files:
        limit = {CONFIG_FILE: MAX_CONFIG_BYTES, "README.md": MAX_README_BYTES}.get(file.path)
        if limit is not None and file.size > limit:
            raise refused(f"{file.path} has {file.size} bytes, {limit} are allowed")
    total = sum(file.size for file in adapter.files)
    if total > max_bytes:
        raise refused(f"the adapter has {total} bytes, this pool takes {max_bytes}")
    if adapter_digest(adapter.files) != adapter.digest:
        raise corrupt("the digest is not that of the files")


def check_listing(found: dict[str, int], files: list[FileDigest]) -> None:
    """Check what lies in the bucket's folder (name to size) against what was committed."""
    for file in files:
        if file.path not in found:
            raise corrupt(f"{file.path} is missing")
        if found[file.path] != file.size:
            raise corrupt(f"{file.path} has {found[file.path]} bytes, committed were {file.size}")
    extra = sorted(set(found) - {file.path for file in files})
    if extra:
        raise refused(f"the folder holds {extra[0]!r}, which was not committed")


def check_files(folder: Path, adapter: PoolAdapter) -> None:
    """Check a folder on disk: exactly the committed files, with their digests. Parses nothing."""
    found = {path.name for path in folder.iterdir()}
    if found != {file.path for file in adapter.files}:
        raise corrupt(f"the folder holds {', '.join(sorted(found))[:200]}")
    for file in adapter.files:
        path = folder / file.path
        if path.is_symlink() or not path.is_file():
            raise refused(f"{file.path} is not a plain file")
        if path.stat().st_size != file.size or hash_file(path) != file.sha256:
            raise corrupt(f"{file.path} differs from its sha256 in the commit")


def check_content(folder: Path, adapter: PoolAdapter, *, base_model: str, max_rank: int) -> None:
    """Check what the files of a folder hold: configuration and tensors."""
    check_adapter_config(
        (folder / CONFIG_FILE).read_bytes(),
        base_model=base_model,
        rank=adapter.rank,
        max_rank=max_rank,
    )
    for file in adapter.files:
        if file.path.endswith(".safetensors"):
            _check_tensors(folder / file.path, adapter.rank)


def hash_file(path: Path) -> str:
    """sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def check_header_size(path: Path, limit: int = MAX_HEADER_BYTES) -> None:
    """Refuse a weight file whose header is too large to be parsed; reads its first bytes alone."""
    with path.open("rb") as stream:
        start = stream.read(HEADER_LENGTH_BYTES)
    problem = find_header_problem(start, limit)
    if problem is not None:
        raise refused(f"{path.name}: {problem}")


def _check_tensors(path: Path, rank: int) -> None:
    """Only pairs of LoRA matrices, A of [rank, in] and B of [out, rank], as floats.

    Reads the header alone; safetensors itself checks offsets and sizes against the file.
    """
    check_header_size(path)
    try:
        with safe_open(path, framework="numpy") as tensors:
            _check_metadata(path, tensors.metadata() or {})
            names = set(tensors.keys())
            if len(names) > MAX_TENSORS:
                raise refused(f"{path.name} holds {len(names)} tensors, {MAX_TENSORS} are allowed")
            for name in names:
                _check_tensor(name, tensors.get_slice(name), rank)
    except SafetensorError as error:
        raise refused(f"{path.name} is not a safetensors file: {error}") from error
    if not names:
        raise refused(f"{path.name} holds no tensor")
    for name in names:
        other = name.replace(".lora_A.", ".lora_#.").replace(".lora_B.", ".lora_A.")
        if other.replace(".lora_#.", ".lora_B.") not in names:
            raise refused(f"{path.name}: {name} has no counterpart")


def _check_metadata(path: Path, metadata: dict[str, str]) -> None:
    size = sum(len(key) + len(value) for key, value in metadata.items())
    if size > MAX_METADATA_BYTES:
        raise refused(f"{path.name} has {size} bytes of notes, {MAX_METADATA_BYTES} are allowed")


def _check_tensor(name: str, tensor: Any, rank: int) -> None:
    match = _TENSOR.fullmatch(name)
    if match is None:
        raise refused(f"tensor {name!r} is not a LoRA matrix of an attention or MLP projection")
    shape, dtype = list(tensor.get_shape()), tensor.get_dtype()
    if dtype not in _DTYPES:
        raise refused(f"tensor {name} is {dtype}, allowed are {', '.join(sorted(_DTYPES))}")
    if len(shape) != 2 or shape[0 if match["side"] == "A" else 1] != rank:
        raise refused(f"tensor {name} has the shape {shape}, the rank is {rank}")
    if 0 in shape:
        raise refused(f"tensor {name} has the shape {shape}: it holds nothing")
