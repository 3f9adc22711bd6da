"""How many positions a base model knows, and that no row is to be longer. Torch-free.

Unsloth stretches the positions (linear RoPE scaling) when it is asked for more than the base knows,
however short the rows are. Who serves or merges the adapter doesn't: it would be trained for other
positions than it is used at, and nothing would say so.
"""

import json
from pathlib import Path
from typing import Any

from qwen3_api.families.qwen3 import DEFAULT_POSITIONS
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason


def read_window(folder: Path) -> int:
    """What config.json of a base model that was looked at already says."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(config.get("max_position_embeddings") or DEFAULT_POSITIONS)


def require_window(name: str, length: int, window: int) -> None:
    """Raises FailureError: InvalidSpec, as rows of `length` tokens would not fit."""
    if length > window:
        raise FailureError(
            Reason.INVALID_SPEC,
            f"dataset.maxSequenceLength is {length}, but {name} knows {window} positions "
            "(max_position_embeddings in its config.json)",
            f"Set dataset.maxSequenceLength to {window} or less.",
        )
