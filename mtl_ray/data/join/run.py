"""A whole join: planned, its large views shuffled, its buckets ready to be read, written or handed to Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mtl_ray.data.join.fragments import atomic_file
from mtl_ray.data.join.parquet_rows import ParquetRows, Rows, TableRows
from mtl_ray.data.join.plan import JoinPlan, plan_join
from mtl_ray.data.join.progress import RowProgress, Say
from mtl_ray.data.join.stages import Join, forget_views, join_bucket, join_partition, partition_spine, partition_view
from mtl_ray.data.join.views import JoinView
from mtl_ray.data.task_runner import RunsOn, run_tasks
from mtl_ray.errors import DataError

Finish = Callable[[pa.Table], pa.Table]
"""What happens to a joined bucket before it leaves, such as on-demand features; picklable where Ray runs it."""


def new_join(
    spine: Rows,
    views: Sequence[JoinView],
    time_column: str,
    *,
    budget: int,
    folder: Path | None,
    spine_columns: Sequence[str] | None = None,
    most_bucket_rows: int | None = None,
    identity: str = "",
    plan: JoinPlan | None = None,
) -> Join:
    """Check spine and views against each other and plan the join.

    Args:
        spine: rows to join features to.
        views: what to join.
        time_column: the spine's column of event times.
        budget: bytes that the join may take in one process.
        folder: where shuffled rows go; the caller removes it. None: a plan that needs it is refused by an assertion.
        spine_columns: columns of the spine in the result; None: all.
        most_bucket_rows: upper limit of the rows of a bucket.
        identity: what the folder's content belongs to.
        plan: of an earlier join of the same inputs, whose pieces are in the folder; None: a new one.

    Raises:
        FeatureStoreError, DataError: a view's source or the spine cannot be used.
        ConfigError: the budget is too small.
    """
    columns = tuple(spine.schema.names if spine_columns is None else spine_columns)
    _check_time(spine.schema, time_column)
    for view in views:
        view.check_keys(spine.schema)
    _check_names(columns, views)
    cut = plan or plan_join(spine, columns, views, budget, most_bucket_rows)
    return Join(spine, columns, time_column, tuple(views), cut, folder, identity)


def shuffle(join: Join, runs_on: RunsOn, say: Say) -> None:
    """Do all that must be on disk before the buckets can be joined. Finished pieces are not done again."""
    plan = join.plan
    stages = list(_shuffle_stages(join))
    progress = RowProgress(sum(rows for _, _, _, rows in stages) + plan.rows, say)
    for function, pieces, stage, total in stages:
        done = 0
        for rows in run_tasks(partial(function, join), pieces, runs_on):
            done += rows
            progress.add(rows, stage, done, total)


def _shuffle_stages(join: Join) -> Iterator[tuple[Callable[..., int], Sequence[Any], str, int]]:
    """(function, pieces, what it does, its rows)."""
    plan = join.plan
    for number, shuffle in enumerate(plan.shuffles):
        for index in shuffle.views:
            view = join.views[index]
            pieces = [(number, index, chunk) for chunk in range(len(join.view_chunks(index)))]
            yield partition_view, pieces, f"partitioning {view.name} by {shuffle.key}", view.rows.num_rows
        spine = [(number, bucket) for bucket in range(plan.buckets)]
        yield partition_spine, spine, f"partitioning the spine by {shuffle.key}", plan.rows
        partitions = [(number, partition) for partition in range(shuffle.partitions)]
        names = ", ".join(join.views[index].name for index in shuffle.views)
        yield join_partition, partitions, f"joining {names}", plan.rows


def joined_buckets(join: Join, finish: Finish, say: Say) -> Iterator[pa.Table]:
    """The result in this process, bucket by bucket, in the order of the spine."""
    shuffle(join, "local", say)
    progress = RowProgress(join.plan.rows, say)
    done = 0
    try:
        for bucket in range(join.plan.buckets):
            table = finish(join_bucket(join, bucket))
            done += table.num_rows
            progress.add(table.num_rows, "joining", done, join.plan.rows)
            yield table
    finally:
        forget_views()


def on_disk(spine: Rows, folder: Path) -> Rows:
    """`spine` where other processes can read it."""
    if not isinstance(spine, TableRows):
        return spine
    file = folder / "spine.parquet"
    with atomic_file(file) as aside:
        pq.write_table(spine.table, aside, compression="lz4", row_group_size=131072)
    return ParquetRows.of(file)


def _check_time(schema: pa.Schema, time_column: str) -> None:
    kind = schema.field(time_column).type
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise DataError(
            f"The spine's column {time_column!r} holds no times.",
            where=f"spine column {time_column}",
            found=f"type {kind}",
            allowed="a timestamp, such as timestamp[us, tz=UTC] (without a time zone it is UTC)",
            fix="cast the column",
        )


def _check_names(columns: Sequence[str], views: Sequence[JoinView]) -> None:
    for name in columns:
        if columns.count(name) > 1:
            raise DataError(
                f"The spine has {columns.count(name)} columns named {name!r}.",
                where="spine",
                found=f"columns {', '.join(columns)}",
                fix="rename or drop all but one",
            )
    owner = dict.fromkeys(columns, "the spine")
    for view in views:
        for name in view.outputs:
            if name in owner:
                raise DataError(
                    f"The result would have two columns named {name!r}.",
                    where=f"feature view {view.name}",
                    found=f"also in {owner[name]}",
                    fix="ask for full_feature_names, or rename one of them",
                )
            owner[name] = f"feature view {view.name}"
