"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mtl_ray.data.source_files import is_remote
from mtl_ray.errors import StorageError

_PREFIX = ".building-"
_SEPARATOR = "@"
"""Between host, process and name: no host's name contains it, so that none begins like another's with a number."""


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


@contextmanager
def staged_folder(final: Path) -> Iterator[Path]:
    """A new hidden folder beside `final` that becomes `final` when the block ends without an error.

    After an error it is removed. What a killed process of this host left is removed too; what another process is
    still writing is left alone. If another process finishes `final` first, its result stays.
    """
    _remove_leftovers(final.parent)
    aside = final.parent / f"{_own_prefix()}{os.getpid()}{_SEPARATOR}{final.name}"
    try:
        aside.mkdir()
        yield aside
        try:
            aside.rename(final)
        except OSError:
            if not final.is_dir():
                raise
    except OSError as error:
        raise StorageError(
            "The training set cannot be written.",
            where=str(final),
            found=error.strerror or str(error),
            fix="free some space, or choose another storage path",
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    for leftover in folder.glob(f"{_own_prefix()}*"):
        number = leftover.name.removeprefix(_own_prefix()).split(_SEPARATOR, 1)[0]
        if number.isdigit() and not _runs(int(number)):
            shutil.rmtree(leftover, ignore_errors=True)


def _own_prefix() -> str:
    """How the names of this host's unfinished folders begin."""
    return f"{_PREFIX}{socket.gethostname()}{_SEPARATOR}"


def _runs(process: int) -> bool:
    if process == os.getpid():
        return False  # an earlier process had this number: this one has not begun yet
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
