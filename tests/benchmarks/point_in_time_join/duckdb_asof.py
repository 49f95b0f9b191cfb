"""The join in DuckDB's SQL alone."""

from __future__ import annotations

import pyarrow as pa

from tests.benchmarks.point_in_time_join.dataset import Dataset
from tests.benchmarks.point_in_time_join.views import CREATED_TIMESTAMP, EVENT_TIMESTAMP, VIEWS, View


def duckdb_asof(dataset: Dataset) -> pa.Table:
    """Spine columns and features of every spine row, in no set order."""
    import duckdb

    selected = ", ".join(["spine.*", *(_feature(view, name) for view in VIEWS for name in view.features)])
    joins = "\n".join(_join(view) for view in VIEWS)
    sources = ",\n".join(_latest_created(dataset, view) for view in VIEWS)
    query = f"WITH {sources}\nSELECT {selected} FROM read_parquet('{dataset.spine}') AS spine\n{joins}"
    with duckdb.connect() as connection:
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET TimeZone = 'UTC'")
        return connection.sql(query).to_arrow_table()


def _latest_created(dataset: Dataset, view: View) -> str:
    """ASOF takes any of the rows of one key and time, so the last created is chosen first.

    Grouping was faster here than QUALIFY over a window, a semi join with the maxima, or max_by of a struct.
    """
    moment = ", ".join([*view.keys, EVENT_TIMESTAMP])
    latest = ", ".join(f"arg_max_null({name}, {CREATED_TIMESTAMP}) AS {name}" for name in view.features)
    return f"{view.name} AS (SELECT {moment}, {latest} FROM read_parquet('{dataset.source(view)}') GROUP BY {moment})"


def _join(view: View) -> str:
    keys = " AND ".join(f"spine.{key} = {view.name}.{key}" for key in view.keys)
    return f"ASOF LEFT JOIN {view.name} ON {keys} AND spine.{EVENT_TIMESTAMP} >= {view.name}.{EVENT_TIMESTAMP}"


def _feature(view: View, name: str) -> str:
    if not view.ttl_us:
        return f"{view.name}.{name}"
    age = f"spine.{EVENT_TIMESTAMP} - {view.name}.{EVENT_TIMESTAMP}"
    return f"CASE WHEN {age} <= to_microseconds({view.ttl_us}) THEN {view.name}.{name} END AS {name}"
