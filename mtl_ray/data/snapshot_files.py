"""A finished training set, in a folder or an object store: opening it and checking that it is whole."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mtl_ray.data.contract.result import CONTRACT_FILE, ContractResult
from mtl_ray.data.manifest import FORMAT_VERSION, LABELS_FILE, MANIFEST_FILE, FileRecord, Manifest
from mtl_ray.data.splits import PARTS
from mtl_ray.errors import SnapshotError
from mtl_ray.schema import BatchSchema
from mtl_ray.storage import below, cache_folder, check_bucket, is_remote, mirror, sha256, sizes

READ_AT_A_TIME = 16
"""Files whose checksums are taken: an object store answers one at a time at a small part of its speed."""


@dataclass(frozen=True)
class Snapshot:
    """A training set: Parquet shards by part, and the manifest that describes them."""

    path: Path
    """Of the manifest and what else is small: this machine's mirror of them, where the training set is remote."""
    manifest: Manifest
    found: bool = True
    """Whether it existed before, rather than being built now."""
    uri: str | None = None
    """Where it lies in an object store; None: in `path`."""

    @property
    def place(self) -> str:
        """Where it lies: its folder's absolute path, or its URI."""
        return self.uri or str(self.path.absolute())

    @property
    def schema(self) -> BatchSchema:
        """Names and order of the encoded columns."""
        return self.manifest.batch_schema

    def files(self, part: str) -> list[tuple[str, int]]:
        """(absolute path or URI, rows) of the shards of `part` (train, validation or test) in row order."""
        return [(below(self.place, file.path), file.rows) for file in self.manifest.files[part]]

    def contract(self) -> ContractResult:
        """What the data contract found."""
        return ContractResult.model_validate_json((self.path / CONTRACT_FILE).read_bytes())

    def summary(self) -> dict[str, Any]:
        """What a job prints; JSON types only."""
        manifest = self.manifest
        return {
            "training_set": self.uri or str(self.path),
            "found": self.found,
            "id": manifest.id,
            "service": manifest.service.service,
            "rows": manifest.rows,
            "quarantined": manifest.quarantined,
            "contract": {severity: len(self.contract().of(severity)) for severity in ("stop", "warn")},
            "boundaries": manifest.boundaries.model_dump(mode="json", exclude_none=True),
            "features": {
                "categorical": len(manifest.batch_schema.categorical),
                "numeric": len(manifest.batch_schema.numeric),
                "lists": len(manifest.batch_schema.lists),
                "times": len(manifest.batch_schema.ages),
                "vectors": len(manifest.batch_schema.vectors),
            },
            "labels": {
                part: {task: rate.model_dump(mode="json") for task, rate in rates.items()}
                for part, rates in manifest.label_rates.items()
            },
        }


def open_snapshot(path: str | Path, verify: bool = False, parts: Collection[str] = PARTS) -> Snapshot:
    """The training set in the folder or at the URI `path`.

    Checks that the manifest is there and readable and that every shard is there with its size; with `verify` also
    the checksum of every shard of `parts`, which reads them all. Raises `SnapshotError` naming the file that is absent
    or damaged.
    """
    uri = str(path).rstrip("/") if is_remote(path) else None
    path = Path(path) if uri is None else mirror(uri, cache_folder(uri), leave_out=PARTS)
    manifest = _read_manifest(path, uri)
    for name in (CONTRACT_FILE, LABELS_FILE):
        if not (path / name).is_file():
            raise _damaged(path / name, "no such file")
    snapshot = Snapshot(path, manifest, uri=uri)
    there = None if uri is None else sizes(uri)
    for records in manifest.files.values():
        for record in records:
            _check_size(snapshot, record, there)
    if verify:
        _check_checksums(
            snapshot, [record for part in manifest.files if part in parts for record in manifest.files[part]]
        )
    return snapshot


def _read_manifest(folder: Path, uri: str | None) -> Manifest:
    file = folder / MANIFEST_FILE
    if not folder.is_dir() or (uri is not None and not file.is_file()):
        if uri is not None:
            check_bucket(uri)
        raise SnapshotError(
            "There is no training set here.",
            where=uri or str(folder),
            found="no manifest" if uri is not None else "no such folder" if not folder.exists() else "a file",
            fix="build it with jobs/build_training_set.py, or correct the path",
        )
    if not file.is_file():
        raise _damaged(file, "no such file")
    try:
        document = json.loads(file.read_bytes())
        version = document["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(file, f"no readable manifest ({type(error).__name__}: {error})") from error
    if version != FORMAT_VERSION:
        raise SnapshotError(
            "The training set was written by another version of this package.",
            where=str(file),
            found=f"format {version}",
            allowed=f"format {FORMAT_VERSION}",
            fix="build it again with jobs/build_training_set.py",
        )
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        raise _damaged(file, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _check_size(snapshot: Snapshot, record: FileRecord, there: dict[str, int] | None) -> None:
    """`there`: sizes of the objects by name, of a remote training set."""
    file = below(snapshot.place, record.path)
    local = snapshot.path / record.path
    size = (local.stat().st_size if local.is_file() else None) if there is None else there.get(record.path)
    if size is None:
        raise _damaged(file, "no such file")
    if size != record.bytes:
        raise _damaged(file, f"{size} bytes", f"{record.bytes} bytes")


def _check_checksums(snapshot: Snapshot, records: Sequence[FileRecord]) -> None:
    files = [below(snapshot.place, record.path) for record in records]
    with ThreadPoolExecutor(READ_AT_A_TIME, thread_name_prefix="checksums") as readers:
        for file, record, checksum in zip(files, records, readers.map(sha256, files), strict=True):
            if checksum != record.sha256:
                readers.shutdown(wait=False, cancel_futures=True)
                raise _damaged(file, f"sha256 {checksum}", f"sha256 {record.sha256}")


def _damaged(file: Path | str, found: str, allowed: str | None = None) -> SnapshotError:
    return SnapshotError(
        "The training set is damaged.",
        where=str(file),
        found=found,
        allowed=allowed,
        fix="remove its folder and build it again with jobs/build_training_set.py",
    )
