"""Limits of a LoRA adapter's files, for everybody who reads what somebody else wrote. Pure."""

MAX_FILES = 64
"""Files of an adapter: config, weights and a card, with room for more."""
MAX_CONFIG_BYTES = 64 * 1024
"""Size of adapter_config.json; PEFT writes about 1 KiB."""
MAX_HEADER_BYTES = 4 * 1024**2
"""Size of the JSON header of a safetensors file.

Two matrices for each of seven projections in 64 layers (Qwen3-32B) need 0.13 MiB. The library
itself takes 100 MB, and 1.4 GiB of memory to parse them.
"""
HEADER_LENGTH_BYTES = 8
"""A safetensors file starts with the size of its header: unsigned, little-endian."""


def find_header_problem(start: bytes, limit: int = MAX_HEADER_BYTES) -> str | None:
    """Why the header of a safetensors file must not be parsed; None if parsing it costs little.

    Args:
        start: The file from its beginning, HEADER_LENGTH_BYTES at least if it has as many.
        limit: Largest header, in bytes.
    """
    size = int.from_bytes(start[:HEADER_LENGTH_BYTES], "little")
    return f"its header has {size} bytes, {limit} are allowed" if size > limit else None
