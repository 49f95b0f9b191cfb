"""Folders that are written to."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mtl_ray.data.source_files import is_remote
from mtl_ray.errors import StorageError


def writable_folder(path: str | Path) -> Path:
    """The local folder `path`, made where absent. Raises `StorageError` where no file can be written in it."""
    if is_remote(str(path)):
        raise StorageError(
            "This storage is not supported yet: training sets and runs are written to local or mounted folders.",
            where=f"storage = {path}",
            allowed="a local path",
        )
    folder = Path(str(path).removeprefix("file://"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StorageError(
            "The storage path cannot be written.",
            where=f"storage = {folder}",
            found=error.strerror or str(error),
            allowed="a folder in which files can be made",
            fix="choose another one with storage=PATH, or change its permissions",
        ) from error
    return folder
