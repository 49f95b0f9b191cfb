"""Folders that are written to, of this machine or in an object store."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mtl_ray.errors import StorageError
from mtl_ray.storage import cache_folder, check_writable, is_remote, upload


@dataclass(frozen=True)
class ResultFolder:
    """What a job leaves for its user."""

    path: Path
    """Its folder: this machine's mirror of it where it lies in an object store."""
    uri: str | None = None
    """Where it lies in an object store; None: in `path`."""

    @classmethod
    def at(cls, place: str) -> Self:
        """The folder `place`, made where absent. Raises `StorageError` where no file can be written in it."""
        return cls(writable_place(place), place if is_remote(place) else None)

    @property
    def place(self) -> str:
        """Where it lies: its folder, or its URI."""
        return self.uri or str(self.path)

    def publish(self, leave_out: Sequence[str] = (), last: Sequence[str] = ()) -> None:
        """Send what is new in `path` to the object store that it lies in; `leave_out`: names at its top; `last`: names
        that go last, because they say that the others are there."""
        if self.uri is not None:
            upload(self.path, self.uri, leave_out=leave_out, last=last)


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
