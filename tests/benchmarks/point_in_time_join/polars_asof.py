"""The join in Polars alone."""

from __future__ import annotations

import pyarrow as pa

from tests.benchmarks.point_in_time_join.dataset import Dataset
from tests.benchmarks.point_in_time_join.views import CREATED_TIMESTAMP, EVENT_TIMESTAMP, VIEWS


def polars_asof(dataset: Dataset) -> pa.Table:
    """Spine columns and features of every spine row, by event time. Eager was faster here than lazy."""
    import polars as pl

    joined = pl.read_parquet(dataset.spine).sort(EVENT_TIMESTAMP)
    for view in VIEWS:
        # Of equal times the last row wins, so sorting by created settles the ties; a null would match a null.
        source = (
            pl.read_parquet(dataset.source(view))
            .drop_nulls(list(view.keys))
            .sort(EVENT_TIMESTAMP, CREATED_TIMESTAMP)
            .drop(CREATED_TIMESTAMP)
        )
        joined = joined.join_asof(
            source,
            on=EVENT_TIMESTAMP,
            by=list(view.keys),
            strategy="backward",
            tolerance=view.ttl or None,
            check_sortedness=False,
        )
    return joined.to_arrow()
