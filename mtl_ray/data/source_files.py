"""Which Parquet files a path means, and a fingerprint of their content."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from mtl_ray import storage
from mtl_ray.schema import Settings
from mtl_ray.storage import is_remote

__all__ = [
    "SourceFingerprint",
    "content_hash",
    "fingerprint",
    "is_remote",
    "parquet_files",
    "source_columns",
]


class SourceFingerprint(Settings):
    """What a source held when it was read."""

    source: str
    path: str
    sha256: str
    """Local files: of their bytes. Remote files: of path, size and modification time, which is all that can be
    known without reading them whole."""


def parquet_files(path: str | Path) -> list[Path]:
    """The Parquet files that a local `path` (file, folder or glob pattern) means, in the order of their names.

    Files and folders whose name begins with `.` or `_` are left out, as every reader of Parquet folders does.
    """
    text = str(path).removeprefix("file://")
    local = Path(text)
    if local.is_dir():
        found = (file for file in local.rglob("*.parquet") if file.is_file())
        return sorted(file for file in found if not _hidden(file.relative_to(local)))
    if local.is_file():
        return [local]
    return sorted(Path(file) for file in glob.glob(text, recursive=True) if Path(file).is_file())  # noqa: PTH207


def content_hash(files: Sequence[Path | str]) -> str:
    """One hash over the bytes of `files` in their order; their names do not matter, so a moved data set is the same."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(bytes.fromhex(storage.sha256(file)))
    return digest.hexdigest()


def fingerprint(source: str, path: str) -> SourceFingerprint:
    """Fingerprint of the files at `path`.

    Raises `FileNotFoundError` where there is none and `OSError` where the file system cannot be reached.
    """
    if is_remote(path):
        return SourceFingerprint(source=source, path=path, sha256=_remote_state(path))
    files = parquet_files(path)
    if not files:
        raise FileNotFoundError(path)
    return SourceFingerprint(source=source, path=path, sha256=content_hash(files))


def source_columns(path: str) -> list[str]:
    """Column names of the first Parquet file at `path`."""
    if is_remote(path):
        filesystem, inner = pafs.FileSystem.from_uri(path)
        names: list[str] = pq.ParquetDataset(inner, filesystem=filesystem).schema.names
        return names
    files = parquet_files(path)
    if not files:
        raise FileNotFoundError(path)
    return list(pq.read_schema(files[0]).names)


def _remote_state(path: str) -> str:
    try:
        filesystem, inner = pafs.FileSystem.from_uri(path)
        info = filesystem.get_file_info(inner)
        infos = [info]
        if info.type == pafs.FileType.Directory:
            infos = filesystem.get_file_info(pafs.FileSelector(inner, recursive=True))
    except pa.ArrowInvalid as error:
        raise OSError(str(error)) from error
    files = sorted((item.path, item.size, item.mtime_ns) for item in infos if item.type == pafs.FileType.File)
    if not files:
        raise FileNotFoundError(path)
    return hashlib.sha256(repr(files).encode()).hexdigest()


def _hidden(relative: Path) -> bool:
    return any(part.startswith((".", "_")) for part in relative.parts)
