"""Limits of a LoRA adapter's files, for every reader of files from another party. Pure."""

MAX_FILES = 64
"""Maximum number of files of an adapter: config, weights, model card, with room for more."""
MAX_CONFIG_BYTES = 64 * 1024
"""Maximum size of adapter_config.json; PEFT writes about 1 KiB."""
MAX_HEADER_BYTES = 4 * 1024**2
"""Maximum size of the JSON header of a safetensors file.

Two matrices for each of seven projections in 64 layers (Qwen3-32B) need 0.13 MiB. The library
itself takes 100 MB, and 1.4 GiB of memory to parse them.
"""
HEADER_LENGTH_BYTES = 8
"""Length of the field at the start of a safetensors file with the header's size: unsigned,
little-endian."""


def find_header_problem(start: bytes, limit: int = MAX_HEADER_BYTES) -> str | None:
    """The reason not to parse the header of a safetensors file; None if parsing it is cheap.

    Args:
        start: The file from its beginning, HEADER_LENGTH_BYTES at least if it has as many.
        limit: Largest header, in bytes.
    """
    size = int.from_bytes(start[:HEADER_LENGTH_BYTES], "little")
    return f"its header has {size} bytes, {limit} are allowed" if size > limit else None
