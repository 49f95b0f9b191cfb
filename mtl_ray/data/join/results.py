"""The result of a join as Parquet files, one a bucket, in a folder of its own that a second run goes on with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mtl_ray.data.join.fragments import atomic_file
from mtl_ray.data.join.parquet_rows import ParquetRows, Rows, chunk_ranges
from mtl_ray.data.join.progress import RowProgress, Say
from mtl_ray.data.join.run import Finish, shuffle
from mtl_ray.data.join.stages import Join, forget_views, join_bucket
from mtl_ray.data.join.views import JoinView
from mtl_ray.data.source_files import fingerprint, is_remote, parquet_files
from mtl_ray.data.task_runner import RunsOn, run_tasks
from mtl_ray.errors import StorageError

RECORD_FILE = "_join.json"
"""Of what inputs, cut how, the files beside it are. Readers of Parquet folders pass over names with an underscore."""


def write_joined(join: Join, finish: Finish, folder: Path, runs_on: RunsOn, say: Say) -> list[Path]:
    """The result as one Parquet file a bucket in `folder`, in the order of the spine.

    Files that an earlier call left there whole are kept if `join.identity` (see `inputs_identity`) is the same and its
    buckets were no larger than these; the join then goes on with those buckets. Otherwise they are replaced.
    Raises `StorageError` where the folder holds other Parquet files, or nothing can be written.
    """
    join = _continued(join, folder)
    plan = join.plan
    files = [bucket_file(folder, bucket) for bucket in range(plan.buckets)]
    missing = [bucket for bucket, file in enumerate(files) if not file.exists()]
    if not missing:
        return files
    shuffle(join, runs_on, say)
    left = sum(end - begin for begin, end in map(plan.bucket, missing))
    progress = RowProgress(left, say)
    done = plan.rows - left
    try:
        for rows in run_tasks(partial(_write_bucket, join, finish, folder), missing, runs_on):
            done += rows
            progress.add(rows, "joining", done, plan.rows)
    finally:
        forget_views()
    _remove_unfinished(folder)  # of nodes that were lost
    return files


def bucket_file(folder: Path, bucket: int) -> Path:
    """File of one bucket's result."""
    return folder / f"part-{bucket:05d}.parquet"


def writer_options(schema: pa.Schema) -> dict[str, Any]:
    """How PyArrow is to write a result: numbers with fractions without a dictionary, which they only make slower."""
    flat = [field.name for field in schema if not (pa.types.is_floating(field.type) or pa.types.is_nested(field.type))]
    return {"compression": "lz4", "use_dictionary": flat}


def inputs_identity(spine: Rows, views: Sequence[JoinView], *more: object) -> str:
    """A hash that two joins share if they have the same views and unchanged inputs.

    Files count as unchanged while path, size and time of change are; a table in memory while its content is.
    """
    digest = hashlib.sha256(repr((spine.schema.to_string(), views, more)).encode())
    for rows in (spine, *(view.rows for view in views)):
        if isinstance(rows, ParquetRows):
            digest.update(repr([_file_state(file) for file in rows.files]).encode())
        else:
            with pa.PythonFile(_HashSink(digest), "w") as sink, pa.ipc.new_stream(sink, rows.schema) as writer:
                for begin, end in chunk_ranges(rows.num_rows, 65536):
                    table = rows.read(begin, end, rows.schema.names)
                    writer.write_table(table.replace_schema_metadata().combine_chunks())
    return digest.hexdigest()


def _continued(join: Join, folder: Path) -> Join:
    """The join with the buckets that stand in `folder`, or with a folder in which none stand."""
    record = folder / RECORD_FILE
    kept = json.loads(record.read_text()) if record.exists() else None
    standing = parquet_files(folder) if folder.is_dir() else []
    foreign = [file for file in standing if kept is None or not file.name.startswith("part-")]
    if foreign:
        raise StorageError(
            "The folder for the result of the point-in-time join holds other Parquet files.",
            where=str(folder),
            found=", ".join(str(file.relative_to(folder)) for file in foreign[:3]) + (", …" if foreign[3:] else ""),
            fix="name a new folder, or remove them: whoever reads the folder would read them too",
        )
    _remove_unfinished(folder)
    if (
        kept is not None
        and (kept["identity"] or None) == join.identity
        and kept["bucket_rows"] <= join.plan.bucket_rows
    ):
        return replace(join, plan=replace(join.plan, bucket_rows=kept["bucket_rows"]))
    for file in standing:
        file.unlink()
    with atomic_file(record) as aside:
        aside.write_text(json.dumps({"identity": join.identity, "bucket_rows": join.plan.bucket_rows}))
    return join


def _remove_unfinished(folder: Path) -> None:
    """Files that processes were writing when they were killed."""
    for left in folder.glob(".part-*.parquet.*"):
        left.unlink(missing_ok=True)


def _write_bucket(join: Join, finish: Finish, folder: Path, bucket: int) -> int:
    file = bucket_file(folder, bucket)
    if file.exists():  # only the result was lost, with a node
        begin, end = join.plan.bucket(bucket)
        return end - begin
    table = finish(join_bucket(join, bucket))
    with atomic_file(file) as aside:
        pq.write_table(table, aside, row_group_size=131072, **writer_options(table.schema))
    rows = int(table.num_rows)
    del table
    pa.default_memory_pool().release_unused()  # or what one bucket leaves adds to the peak of the next
    return rows


def _file_state(file: str) -> tuple[Any, ...]:
    if is_remote(file):
        return file, fingerprint("", file).sha256
    state = Path(file).stat()
    return file, state.st_size, state.st_mtime_ns


class _HashSink:
    """What Arrow writes, hashed and not kept."""

    closed = False

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, data: bytes) -> int:
        """Take `data` into the hash."""
        self._digest.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is waiting."""

    def close(self) -> None:
        """Nothing is open."""
