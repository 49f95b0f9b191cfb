"""Writing a project, whole or not at all, without taking away what else is in its folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mtl_ray.errors import StorageError

WRITTEN = ("data", "feature_repo", "config.yaml", "README.md")
"""What stands in a project's folder; `--force` replaces these and nothing else."""


def check_folder(out: Path, tables: Sequence[Path], force: bool) -> None:
    """Raise `StorageError` unless a project may be written to `out`."""
    if out.exists() and not out.is_dir():
        raise StorageError("The project cannot be written: a file has this name.", where=f"--out {out}")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise StorageError(
            "The folder is not empty.",
            where=f"--out {out}",
            found=", ".join(sorted(path.name for path in out.iterdir())[:10]),
            fix=f"choose another folder, or replace {', '.join(WRITTEN)} in it with --force",
        )
    replaced = [out.resolve() / name for name in WRITTEN]
    for table in tables:
        if any(table.resolve().is_relative_to(path) for path in replaced):
            raise StorageError(
                "The table lies where the project is to be written.",
                where=f"--table {table}",
                fix="choose another --out, or move the table",
            )


def write_project(out: Path, tables: Mapping[str, pa.Table], texts: Mapping[str, str]) -> None:
    """Write Parquet `tables` and `texts`, by their path below `out`. Raises `StorageError`; then `out` is as before."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        # In the same folder: a rename, which does not fail half-way.
        aside = Path(tempfile.mkdtemp(prefix=".scaffold-", dir=out))
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        for name, table in tables.items():
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, aside / name, compression="zstd")
        for name, text in texts.items():
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            (aside / name).write_text(text, encoding="utf-8")
        replaced = aside / "replaced"
        replaced.mkdir()
        for name in WRITTEN:
            if (out / name).exists():
                (out / name).rename(replaced / name)
            (aside / name).rename(out / name)
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _unwritable(out: Path, error: OSError) -> StorageError:
    return StorageError(
        "The project cannot be written.",
        where=f"--out {out}",
        found=error.strerror or str(error),
        fix="choose another folder with --out, or free some space",
    )
