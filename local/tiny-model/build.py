"""Builds `qwen3-dev/Qwen3-Tiny`, a Qwen3 of about a million parameters, from nothing on a CPU.

    python build.py --out DIR             builds into DIR, or checks that it holds a whole build
    python build.py --cached CACHE_DIR    builds once per version of these scripts

The folder is in Hugging Face's format. Standard output carries only the folder's path; everything
else goes to standard error. Needs requirements.txt; no network.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tiny_qwen3.artifact import build_once, hash_sources, verify_manifest

# Set before torch starts its threads: idle ones then sleep instead of spinning, which matters where
# a cluster or other builds run on the same two cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

MODEL_ID = "qwen3-dev/Qwen3-Tiny"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, help="folder to build into")
    where.add_argument("--cached", type=Path, help="cache folder; the build is reused if unchanged")
    arguments = parser.parse_args()
    if arguments.out is not None:
        folder: Path = arguments.out
        # A folder named by hand is never replaced: DamagedArtifactError says what is wrong with it.
        sums = verify_manifest(folder) if folder.exists() else build_once(folder, _build)
    else:
        folder = arguments.cached / f"qwen3-tiny-{hash_sources()[:16]}"
        sums = build_once(folder, _build)
    for name, digest in sums.items():
        print(f"{digest}  {name}", file=sys.stderr)
    size = sum((folder / name).stat().st_size for name in sums)
    print(f"{MODEL_ID}: {size / 1e6:.1f} MB", file=sys.stderr)
    print(folder.resolve())


def _build(folder: Path) -> None:
    # Only here: a cached build is answered at once, and where torch is not installed.
    from tiny_qwen3.building import build_folder  # noqa: PLC0415

    build_folder(folder)


if __name__ == "__main__":
    main()
