"""The feature tables and the spine as Arrow tables, from the DuckDB tables of the other files."""

from __future__ import annotations

from datetime import date

import duckdb
import pyarrow as pa

from mtl_ray.datasets.kuairand.aggregates import daily_features
from mtl_ray.datasets.kuairand.raw import USER_CODES, USER_FLAGS, USER_NUMBERS, USER_RANGES
from mtl_ray.datasets.tables import TIMESTAMP

LABELS = ("click", "like", "long_view", "profile_enter", "watch_time")

# The log's day begins at midnight in China (UTC+8, no daylight saving).
_MIDNIGHT = "{day}::TIMESTAMP - INTERVAL 8 HOUR"


def feature_tables(connection: duckdb.DuckDBPyConnection) -> dict[str, pa.Table]:
    """Name -> table: join keys, features, event_timestamp and created_timestamp (us, UTC), sorted by key and time.

    Profiles carry no time in the raw files; they are stamped with the midnight at which the log's first day begins.
    Everything else is stamped with the midnight that ends the last day it was computed from.
    """
    return {
        "user_profile": _user_profile(connection),
        "user_daily": _daily(connection, "user_daily", "user_id"),
        "user_tab_daily": _daily(connection, "user_tab_daily", "user_id"),
        "user_recent": _daily(connection, "user_recent", "user_id"),
        "item_profile": _item_profile(connection),
        "item_daily": _daily(connection, "item_daily", "item_id"),
        "item_author_daily": _daily_of_items(connection, "author", "author_id"),
        "item_tag_daily": _daily_of_items(connection, "tag", "tag"),
        "user_item_daily": _daily(connection, "user_item_daily", "user_id, item_id"),
    }


def spine(connection: duckdb.DuckDBPyConnection, first_day: date | None = None) -> pa.Table:
    """One row an impression, by time: user_id, item_id, event_timestamp, the labels, and the request's context.

    click, like, long_view and profile_enter are 0 or 1, watch_time is in seconds (float64, not capped). tab is the
    page of the app, hour (0-23) and weekday (0 is Monday) are local time in China. A user, an item and a time may
    repeat: the log has such rows, and all are kept.
    """
    since = "" if first_day is None else f"WHERE day >= DATE '{first_day.isoformat()}'"
    return _stamped(
        connection,
        f"""
        SELECT user_id, item_id, make_timestamp(time_us) AS event_timestamp,
            click::BIGINT AS click, "like"::BIGINT AS "like", long_view::BIGINT AS long_view,
            profile_enter::BIGINT AS profile_enter, watch_ms::DOUBLE / 1000 AS watch_time,
            tab, hour(make_timestamp(time_us) + INTERVAL 8 HOUR)::BIGINT AS hour,
            isodow(day)::BIGINT - 1 AS weekday
        FROM log {since}
        ORDER BY time_us, user_id, item_id, tab, watch_ms, click, long_view, "like", profile_enter
        """,
    )


def _user_profile(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    features = ", ".join(("user_active_degree", *USER_FLAGS, *USER_NUMBERS, *USER_RANGES, *USER_CODES))
    return _features(
        connection, f"SELECT user_id, {features}, (SELECT min(day) FROM log) AS day FROM users ORDER BY user_id"
    )


def _item_profile(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    return _features(
        connection,
        """
        SELECT item_id, author_id, video_type, upload_type, upload_date, music_id, music_type, tag AS item_tag,
            item_tags, duration_seconds, server_width, server_height,
            server_width / nullif(server_height, 0) AS aspect_ratio,
            (SELECT min(day) FROM log) AS day
        FROM items ORDER BY item_id
        """,
    )


def _daily(connection: duckdb.DuckDBPyConnection, table: str, keys: str) -> pa.Table:
    return _features(connection, f"SELECT * FROM {table} ORDER BY {keys}, day")


def _daily_of_items(connection: duckdb.DuckDBPyConnection, name: str, key: str) -> pa.Table:
    """The aggregates of each item's author or tag, keyed by the item: the spine knows neither."""
    features = ", ".join(daily_features(name))
    return _features(
        connection,
        f"""
        SELECT item_id, day, {features} FROM items JOIN {name}_daily USING ({key}) ORDER BY item_id, day
        """,
    )


def _features(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    midnight = _MIDNIGHT.format(day="day")
    return _stamped(
        connection,
        f"SELECT * EXCLUDE (day), {midnight} AS event_timestamp, {midnight} AS created_timestamp FROM ({query})",
    )


def _stamped(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    table = connection.sql(query).to_arrow_table()
    for name in ("event_timestamp", "created_timestamp"):
        if name in table.column_names:
            index = table.column_names.index(name)
            table = table.set_column(index, name, table[name].cast(pa.timestamp("us")).cast(TIMESTAMP))
    for index, field in enumerate(table.schema):
        if pa.types.is_list(field.type) and pa.types.is_timestamp(field.type.value_type):
            table = table.set_column(index, field.name, table[field.name].cast(pa.list_(TIMESTAMP)))
    return table.replace_schema_metadata()
