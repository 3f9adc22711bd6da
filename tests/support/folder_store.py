"""A bucket for the sidecar's tests: each location's prefix is a folder on the disk."""

import asyncio
import shutil
from collections import Counter
from pathlib import Path

from qwen3_api.job.base import FileDigest, S3Location


class FolderStore:
    """Stands for `qwen3_server.store.Store`, as far as a pull uses it."""

    def __init__(self) -> None:
        self.downloads: Counter[str] = Counter()
        """Files that were read, by folder."""

    async def list_folder(self, folder: S3Location, limit: int) -> dict[str, int]:
        return await asyncio.to_thread(_sizes, Path(folder.prefix))

    async def download(self, folder: S3Location, file: FileDigest, target: Path) -> None:
        self.downloads[folder.prefix] += 1
        await asyncio.to_thread(shutil.copyfile, Path(folder.prefix) / file.path, target)


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def folder_location(folder: Path) -> S3Location:
    """Where this store finds the folder."""
    return S3Location(endpoint=None, region=None, bucket="b", prefix=str(folder))
