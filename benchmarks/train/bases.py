"""Writes base models one after the other: `python -m benchmarks.train.bases FOLDER SIZE…`.

One process for all sizes imports torch once. They are saved to a folder in memory and loaded from
there as the trainer loads any base: Unsloth's loader, whose patches the training runs on, takes a
folder.
"""

import sys
from pathlib import Path

from gpu_check.base_model import main as write_base


def main(folder: Path, sizes: list[str]) -> None:
    """Prints each size once its folder is complete."""
    for size in sizes:
        write_base(size, folder / size)
        print(f"done {size}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
