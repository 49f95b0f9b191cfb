"""A finished training set on disk: opening it and checking that it is whole."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mtl_ray.data.contract.result import CONTRACT_FILE, ContractResult
from mtl_ray.data.manifest import FORMAT_VERSION, LABELS_FILE, MANIFEST_FILE, FileRecord, Manifest
from mtl_ray.data.source_files import sha256_of_file
from mtl_ray.data.splits import PARTS
from mtl_ray.errors import SnapshotError
from mtl_ray.schema import BatchSchema


@dataclass(frozen=True)
class Snapshot:
    """A training set: Parquet shards by part, and the manifest that describes them."""

    path: Path
    manifest: Manifest
    found: bool = True
    """Whether it existed before, rather than being built now."""

    @property
    def schema(self) -> BatchSchema:
        """Names and order of the encoded columns."""
        return self.manifest.batch_schema

    def files(self, part: str) -> list[tuple[str, int]]:
        """(absolute path, rows) of the shards of `part` (train, validation or test) in row order."""
        return [(str(self.path.absolute() / file.path), file.rows) for file in self.manifest.files[part]]

    def contract(self) -> ContractResult:
        """What the data contract found."""
        return ContractResult.model_validate_json((self.path / CONTRACT_FILE).read_bytes())

    def summary(self) -> dict[str, Any]:
        """What a job prints; JSON types only."""
        manifest = self.manifest
        return {
            "training_set": str(self.path),
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
    """The training set in the folder `path`.

    Checks that the manifest is there and readable and that every shard is there with its size; with `verify` also
    the checksum of every shard of `parts`, which reads them all. Raises `SnapshotError` naming the file that is absent
    or damaged.
    """
    path = Path(path)
    manifest = _read_manifest(path)
    for name in (CONTRACT_FILE, LABELS_FILE):
        if not (path / name).is_file():
            raise _damaged(path / name, "no such file")
    for part, records in manifest.files.items():
        for record in records:
            _check_file(path, record, verify and part in parts)
    return Snapshot(path, manifest)


def _read_manifest(folder: Path) -> Manifest:
    file = folder / MANIFEST_FILE
    if not folder.is_dir():
        raise SnapshotError(
            "There is no training set here.",
            where=str(folder),
            found="no such folder" if not folder.exists() else "a file",
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


def _check_file(folder: Path, record: FileRecord, verify: bool) -> None:
    file = folder / record.path
    if not file.is_file():
        raise _damaged(file, "no such file")
    size = file.stat().st_size
    if size != record.bytes:
        raise _damaged(file, f"{size} bytes", f"{record.bytes} bytes")
    if verify:
        checksum = sha256_of_file(file)
        if checksum != record.sha256:
            raise _damaged(file, f"sha256 {checksum}", f"sha256 {record.sha256}")


def _damaged(file: Path, found: str, allowed: str | None = None) -> SnapshotError:
    return SnapshotError(
        "The training set is damaged.",
        where=str(file),
        found=found,
        allowed=allowed,
        fix="remove its folder and build it again with jobs/build_training_set.py",
    )
