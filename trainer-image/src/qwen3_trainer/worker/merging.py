"""W + scale * B A for every weight that has an adapter (LoRA, https://arxiv.org/abs/2106.09685).

A file at a time and in it a tensor at a time, so that memory holds one weight matrix, however the
base model is cut into files: safetensors keeps a header of names, types and byte ranges before the
bytes, and merging changes none of the three. Sums are in float32 and rounded once, to the type of
the base.
"""

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import safe_open

from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.publish import CONFIG, WEIGHTS
from qwen3_trainer.worker.channel import Channel
from qwen3_trainer.worker.messages import Done, MergePlan

log = logging.getLogger(__name__)

CHUNK = 1 << 24
TYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
_PREFIX = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"
_UNMERGEABLE = ("use_dora", "lora_bias", "modules_to_save", "rank_pattern", "alpha_pattern")
"""Settings of PEFT that the trainer never writes and the formula above doesn't cover."""


@dataclass(frozen=True)
class LowRank:
    """The update of one weight."""

    a: Any
    """(rank, in)"""
    b: Any
    """(out, rank)"""
    scale: float

    def add_to(self, weight: Any) -> Any:
        """The merged weight, in the type of `weight` (out, in)."""
        update = self.b.float() @ self.a.float()
        return (weight.float() + self.scale * update).to(weight.dtype)


@dataclass(frozen=True)
class Entry:
    """A tensor of a safetensors file."""

    name: str
    type: str
    shape: list[int]
    start: int
    """Bytes after the header."""
    size: int
    """Bytes."""


def merge(plan: MergePlan, channel: Channel) -> None:
    """Writes the merged model. Raises FailureError: ExportFailed."""
    base, output = Path(plan.base), Path(plan.output)
    updates = read_updates(Path(plan.adapter))
    output.mkdir(parents=True)
    left = set(updates)
    for source in sorted(base.iterdir()):
        if source.suffix == ".safetensors":
            left -= merge_file(source, output / source.name, updates)
            _release(source, Path(plan.scratch))
        elif source.is_file() and source.name != "README.md":
            (output / source.name).write_bytes(source.read_bytes())
    if left:
        raise _failed(f"the base model has no {min(left)} ({len(left)} weights of the adapter)")
    log.info("merged %d weights", len(updates))
    channel.send(Done())


def _release(source: Path, scratch: Path) -> None:
    """Makes room. A model in a cache that the platform mounted is not ours to remove."""
    file = source.resolve()
    if file.is_relative_to(scratch.resolve()):
        file.unlink()


def _failed(message: str) -> FailureError:
    return FailureError(
        Reason.EXPORT_FAILED, message, "The adapter itself is stored and can be served."
    )


def read_updates(adapter: Path) -> dict[str, LowRank]:
    """The updates of a PEFT folder by name of the weight. Raises FailureError: ExportFailed."""
    config = json.loads((adapter / CONFIG).read_text(encoding="utf-8"))
    for setting in _UNMERGEABLE:
        if config.get(setting):
            raise _failed(f"adapters with {setting} can't be merged")
    rank = int(config["r"])
    scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
    with safe_open(adapter / WEIGHTS, framework="pt") as file:
        names = set(file.keys())
        modules = {n.removesuffix(_A) for n in names if n.endswith(_A)}
        if names != {m + end for m in modules for end in (_A, _B)}:
            raise _failed(f"{WEIGHTS} holds other tensors than pairs of lora_A and lora_B")
        updates = {}
        for module in sorted(modules):
            a, b = file.get_tensor(module + _A), file.get_tensor(module + _B)
            if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
                raise _failed(f"{module} of the adapter isn't finite")
            updates[f"{module.removeprefix(_PREFIX)}.weight"] = LowRank(a, b, scale)
    return updates


def merge_file(source: Path, target: Path, updates: dict[str, LowRank]) -> set[str]:
    """Copies a safetensors file with the updates added. Returns the names of what it merged."""
    merged = set()
    with source.open("rb") as reader, target.open("wb") as writer:
        header = _read_header(reader)
        writer.write(len(header).to_bytes(8, "little") + header)
        offset = 8 + len(header)
        for entry in entries(header):
            reader.seek(offset + entry.start)
            update = updates.get(entry.name)
            if update is None:
                _copy(reader, writer, entry.size)
            else:
                writer.write(_merged_bytes(reader, entry, update))
                merged.add(entry.name)
    return merged


def _read_header(reader: IO[bytes]) -> bytes:
    return reader.read(int.from_bytes(reader.read(8), "little"))


def entries(header: bytes) -> Iterator[Entry]:
    """The tensors of a file in the order of their bytes, which lie without gaps."""
    document = json.loads(header)
    document.pop("__metadata__", None)
    found = [
        Entry(name, e["dtype"], e["shape"], e["data_offsets"][0], e["data_offsets"][1])
        for name, e in document.items()
    ]
    for entry in sorted(found, key=lambda e: (e.start, e.size)):
        yield Entry(entry.name, entry.type, entry.shape, entry.start, entry.size - entry.start)


def _copy(reader: IO[bytes], writer: IO[bytes], size: int) -> None:
    while size:
        chunk = reader.read(min(CHUNK, size))
        if not chunk:
            raise _failed("a file of the base model is cut short")
        writer.write(chunk)
        size -= len(chunk)


def _merged_bytes(reader: IO[bytes], entry: Entry, update: LowRank) -> Any:
    if entry.type not in TYPES:
        raise FailureError(
            Reason.EXPORT_FAILED,
            f"{entry.name} of the base model is {entry.type}: merging needs a base in 16 bits",
            "Name the 16-bit model in spec.baseModel; QLoRA quantises it while it trains.",
        )
    body = bytearray(reader.read(entry.size))
    weight = torch.frombuffer(body, dtype=TYPES[entry.type]).reshape(entry.shape)
    if weight.shape != (update.b.shape[0], update.a.shape[1]):
        raise _failed(
            f"{entry.name} is {tuple(weight.shape)}, its adapter "
            f"{(update.b.shape[0], update.a.shape[1])}"
        )
    merged = update.add_to(weight)
    if not torch.isfinite(merged).all():
        raise _failed(f"{entry.name} isn't finite with the adapter in it")
    return memoryview(merged.contiguous().view(torch.uint8).numpy())
