"""Folders that are written to, of this machine or in an object store."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mtl_ray.errors import StorageError
from mtl_ray.storage import cache_folder, check_writable, is_remote


def writable_place(place: str) -> Path:
    """The local folder to write to for `place`: itself, or this machine's mirror of what lies in an object store.

    Raises `StorageError` where no file can be written in either.
    """
    if not is_remote(place):
        return writable_folder(place)
    check_writable(place)
    return writable_folder(cache_folder(place))


def writable_folder(path: str | Path) -> Path:
    """The local folder `path`, made where absent. Raises `StorageError` where no file can be written in it."""
    if is_remote(path):
        raise StorageError(
            "This job writes to a local or mounted folder alone.",
            where=f"storage = {path}",
            allowed="a local path",
            fix="set storage=PATH for it; jobs/build_training_set.py, train.py and evaluate.py take s3://",
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
