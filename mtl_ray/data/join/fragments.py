"""Files of labelled record batches: how rows travel between the stages of a shuffle.

A fragment is an Arrow IPC file and an index of its batches' labels (a partition or a bucket). It appears under its
final name when it is whole, so that a stage that was killed is simply run again and one that has finished is not.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

import pyarrow as pa

from mtl_ray.errors import StorageError

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class FragmentWriter:
    """Writes batches in any order of labels; used through `new_fragment`."""

    def __init__(self, file: Path, schema: pa.Schema) -> None:
        self._sink = pa.OSFile(str(file), "wb")
        self._writer = pa.ipc.new_file(self._sink, schema, options=_OPTIONS)
        self._schema = schema
        self.labels: list[int] = []

    def write(self, table: pa.Table, label: int) -> None:
        """Append the rows of `table`, in the fragment's schema, as one batch or more."""
        for batch in table.cast(self._schema).combine_chunks().to_batches():
            self._writer.write_batch(batch)
            self.labels.append(label)

    def close(self) -> None:
        self._writer.close()
        self._sink.close()


@contextmanager
def new_fragment(file: Path, schema: pa.Schema) -> Iterator[FragmentWriter]:
    """A writer whose fragment stands at `file` when the block ends without an error. Raises `StorageError`."""
    with atomic_file(file) as aside:
        writer = FragmentWriter(aside, schema)
        try:
            yield writer
        finally:
            writer.close()
        with atomic_file(index_file(file)) as index:
            index.write_text(json.dumps(writer.labels))


def index_file(file: Path) -> Path:
    """Where a fragment's labels stand."""
    return file.with_suffix(".labels.json")


def fragment_stands(file: Path) -> bool:
    """Whether a whole fragment stands at `file`."""
    return file.exists() and index_file(file).exists()


def read_labelled(files: Sequence[Path], label: int) -> pa.Table | None:
    """All batches of `label` in the order of `files`; None where there are none."""
    batches: list[pa.RecordBatch] = []
    for file in files:
        stand = index_file(file).stat()
        positions = _positions(file, stand.st_ino, stand.st_mtime_ns).get(label)
        if positions:
            with pa.OSFile(str(file)) as source:
                reader = pa.ipc.open_file(source)
                batches.extend(reader.get_batch(position) for position in positions)
    return pa.Table.from_batches(batches) if batches else None


@lru_cache(maxsize=4096)
def _positions(file: Path, inode: int, changed: int) -> dict[int, list[int]]:  # noqa: ARG001 - of this very file
    positions: dict[int, list[int]] = {}
    for position, label in enumerate(json.loads(index_file(file).read_text())):
        positions.setdefault(label, []).append(position)
    return positions


@contextmanager
def atomic_file(file: Path) -> Iterator[Path]:
    """A path beside `file` that is renamed to it when the block ends without an error, and removed otherwise.

    Raises `StorageError` where the file system is full or cannot be written.
    """
    # Not by the process id: processes of two nodes may have the same one, and do the same piece at one time.
    aside = file.with_name(f".{file.name}.{uuid4().hex}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(file, error) from error
    try:
        yield aside
        aside.rename(file)
    except OSError as error:
        aside.unlink(missing_ok=True)
        if not _disk_full(error) and error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM, errno.EFBIG):
            raise  # of something that was read
        raise storage_error(file, error) from error
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def storage_error(file: Path, error: OSError) -> StorageError:
    """What cannot be written, and what to do."""
    full = _disk_full(error)
    return StorageError(
        "The disk is full." if full else "A file cannot be written.",
        where=str(file),
        found=error.strerror or str(error),
        fix="free some space (what is finished is kept: the same command goes on from there), or choose another folder"
        if full
        else "check the folder's permissions, or choose another one",
    )


def _disk_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
