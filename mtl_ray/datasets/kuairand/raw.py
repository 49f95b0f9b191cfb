"""Reads the raw files of KuaiRand-Pure into DuckDB tables that are the same for both layouts."""

from __future__ import annotations

from pathlib import Path

import duckdb

from mtl_ray.datasets.kuairand.raw_files import RawFiles, scan
from mtl_ray.errors import DataError

# play_time_ms, and what the log derives from it, are outcomes: labels, never inputs of that day.
LOG_COLUMNS = (
    "user_id",
    "video_id",
    "time_ms",
    "is_click",
    "is_like",
    "long_view",
    "is_profile_enter",
    "play_time_ms",
    "duration_ms",
    "tab",
)
USER_NUMBERS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
USER_RANGES = tuple(f"{name}_range" for name in USER_NUMBERS)
USER_FLAGS = ("is_lowactive_period", "is_live_streamer", "is_video_author")
USER_CODES = tuple(f"onehot_feat{number}" for number in range(18))
USER_COLUMNS = ("user_id", "user_active_degree", *USER_FLAGS, *USER_NUMBERS, *USER_RANGES, *USER_CODES)
ITEM_COLUMNS = (
    "video_id",
    "author_id",
    "video_type",
    "upload_dt",
    "upload_type",
    "video_duration",
    "server_width",
    "server_height",
    "music_id",
    "music_type",
    "tag",
)
SEQUENCE_COLUMNS = ("user_id", "last_time_ms", "watch_seq", "like_seq", "long_watch_seq")

_BINARY = ("IN (0, 1)", "0, 1")
_NOT_NEGATIVE = (">= 0", "0 or more")
# column of the table `log` -> (raw column, condition, what is allowed in words)
_LOG_RULES = {
    "user_id": ("user_id", "IS NOT NULL", "an id"),
    "item_id": ("video_id", "IS NOT NULL", "an id"),
    "time_us": ("time_ms", *_NOT_NEGATIVE),
    "tab": ("tab", "IS NOT NULL", "a number"),
    "click": ("is_click", *_BINARY),
    '"like"': ("is_like", *_BINARY),
    "long_view": ("long_view", *_BINARY),
    "profile_enter": ("is_profile_enter", *_BINARY),
    "watch_ms": ("play_time_ms", *_NOT_NEGATIVE),
}

WATCH_RATIO_CAP = 5
"""Looped plays are counted as at most five full watches in a mean watch ratio."""


def load_raw(connection: duckdb.DuckDBPyConnection, files: RawFiles) -> None:
    """Creates the tables `log`, `users`, `items`, `history` and `long_view_history`.

    DataError names a missing column, or a value that cannot be used.

    - `log`: one row an impression: user_id, item_id, time_us (epoch microseconds UTC), day (in China), click, like,
      long_view, profile_enter (0/1), watch_ms, watch_ratio (watched share of the duration, at most
      WATCH_RATIO_CAP, NULL without a duration), tab, author_id, tag (the item's first).
    - `users`, `items`: the attribute files with their sentinels as NULL; `items` also holds items that occur only
      in the log, with NULL attributes.
    - `history`: one row an impression from before the log: user_id, item_id, position (oldest first), long_view,
      like, time_us, day (the last day of the history), author_id, tag. Of no impression but the user's last one is
      the time known: all of them have that time, before which they were; none is later than the log's first row.
    - `long_view_history`: the same for the last long views alone, which reach further back: user_id, item_id,
      position, time_us, day, author_id, tag.

    Both histories come from the sequence file of the excerpt and are empty in the official layout, whose log holds
    those days itself.
    """
    try:
        _load_items(connection, files.items)
        _load_log(connection, files.logs)
        _load_users(connection, files.users)
        _load_history(connection, files.sequences)
    except (duckdb.ConversionException, duckdb.InvalidInputException) as error:
        raise DataError(
            "A raw file of KuaiRand holds a value of the wrong type", where=str(files.items.parent), found=str(error)
        ) from error


def _load_log(connection: duckdb.DuckDBPyConnection, logs: tuple[Path, ...]) -> None:
    """After `_load_items`, which it completes."""
    parts = " UNION ALL ".join(
        f"SELECT {', '.join(LOG_COLUMNS)} FROM {scan(connection, file, LOG_COLUMNS)}" for file in logs
    )
    # Sums of watch_ratio are exact (and so the same on every run) because it is a decimal.
    connection.execute(f"""
        CREATE TABLE log AS
        SELECT user_id::BIGINT AS user_id, video_id::BIGINT AS item_id, time_ms::BIGINT * 1000 AS time_us,
            (make_timestamp(time_ms::BIGINT * 1000) + INTERVAL 8 HOUR)::DATE AS day,
            is_click::INTEGER AS click, is_like::INTEGER AS "like", long_view::INTEGER AS long_view,
            is_profile_enter::INTEGER AS profile_enter, play_time_ms::BIGINT AS watch_ms,
            CASE WHEN duration_ms > 0
                THEN least(play_time_ms / duration_ms, {WATCH_RATIO_CAP})::DECIMAL(18, 6) END AS watch_ratio,
            tab::BIGINT AS tab, NULL::BIGINT AS author_id, NULL::BIGINT AS tag
        FROM ({parts})
    """)
    _check_log(connection, logs)
    connection.execute("INSERT INTO items (item_id) SELECT DISTINCT item_id FROM log ANTI JOIN items USING (item_id)")
    connection.execute("UPDATE log SET author_id = i.author_id, tag = i.tag FROM items i WHERE log.item_id = i.item_id")


def _check_log(connection: duckdb.DuckDBPyConnection, logs: tuple[Path, ...]) -> None:
    where = ", ".join(str(file) for file in logs)
    if connection.execute("SELECT 1 FROM log LIMIT 1").fetchone() is None:
        raise DataError("The log of KuaiRand is empty", where=where)
    for column, (name, condition, allowed) in _LOG_RULES.items():
        # NOT of a comparison with NULL is NULL, hence the test for it.
        bad = connection.execute(
            f"SELECT {column} FROM log WHERE {column} IS NULL OR NOT ({column} {condition}) LIMIT 1"
        ).fetchone()
        if bad is not None:
            raise DataError(
                "A value of KuaiRand's log cannot be used",
                where=f"column {name} of {where}",
                found="an empty value" if bad[0] is None else bad[0],
                allowed=allowed,
            )


def _load_users(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    source = scan(connection, file, USER_COLUMNS)
    numbers = [f"nullif({name}::DOUBLE, -124) AS {name}" for name in USER_NUMBERS]
    codes = [f"nullif({name}::DOUBLE::BIGINT, -124) AS {name}" for name in (*USER_FLAGS, *USER_CODES)]
    words = [f"nullif({name}::VARCHAR, 'UNKNOWN') AS {name}" for name in ("user_active_degree", *USER_RANGES)]
    attributes = ", ".join((*words, *codes, *numbers))
    connection.execute(f"CREATE TABLE users AS SELECT user_id::BIGINT AS user_id, {attributes} FROM {source}")
    _check_unique(connection, "users", "user_id", "user_id", file)


def _load_items(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    source = scan(connection, file, ITEM_COLUMNS)
    # Tags are lists such as '39,68', the main tag first. music_id 0 stands for no music.
    connection.execute(f"""
        CREATE TABLE items AS
        SELECT video_id::BIGINT AS item_id, author_id::BIGINT AS author_id,
            nullif(video_type::VARCHAR, 'UNKNOWN') AS video_type,
            nullif(upload_type::VARCHAR, 'UNKNOWN') AS upload_type,
            left(upload_dt::VARCHAR, 10) AS upload_date,
            nullif(music_id::BIGINT, 0) AS music_id, music_type::DOUBLE::BIGINT AS music_type,
            [TRY_CAST(x AS BIGINT) FOR x IN string_split(tag::VARCHAR, ',') IF TRY_CAST(x AS BIGINT) IS NOT NULL]
                AS item_tags,
            item_tags[1] AS tag,
            nullif(video_duration::DOUBLE, 0) / 1000 AS duration_seconds,
            server_width::DOUBLE AS server_width, server_height::DOUBLE AS server_height
        FROM {source}
    """)
    _check_unique(connection, "items", "item_id", "video_id", file)


def _load_history(connection: duckdb.DuckDBPyConnection, file: Path | None) -> None:
    connection.execute("""
        CREATE TABLE history (user_id BIGINT, item_id BIGINT, position BIGINT, long_view INTEGER, "like" INTEGER,
            time_us BIGINT, day DATE, author_id BIGINT, tag BIGINT)
    """)
    connection.execute("""
        CREATE TABLE long_view_history (user_id BIGINT, item_id BIGINT, position BIGINT, time_us BIGINT, day DATE,
            author_id BIGINT, tag BIGINT)
    """)
    if file is None:
        return
    source = scan(connection, file, SEQUENCE_COLUMNS)
    connection.execute(f"""
        CREATE TEMP TABLE sequences AS
        SELECT user_id::BIGINT AS user_id, watch_seq, like_seq, long_watch_seq,
            least(last_time_ms::BIGINT * 1000, (SELECT min(time_us) FROM log)) AS time_us,
            (make_timestamp(max(last_time_ms) OVER ()::BIGINT * 1000) + INTERVAL 8 HOUR)::DATE AS day
        FROM {source}
    """)
    # watch_seq holds the last 50 impressions, whatever came of them (its length is min(50, history_len));
    # like_seq and long_watch_seq hold the last 50 that were liked or long viewed, so they reach back at least as
    # far: an item of watch_seq that is absent from long_watch_seq was not long viewed.
    connection.execute("""
        INSERT INTO history
        SELECT user_id, item_id, position, coalesce(list_contains(long_watch_seq, item_id), FALSE)::INTEGER,
            coalesce(list_contains(like_seq, item_id), FALSE)::INTEGER, time_us, day, author_id, tag
        FROM (
            SELECT user_id, unnest(watch_seq)::BIGINT AS item_id, unnest(range(len(watch_seq))) AS position,
                long_watch_seq, like_seq, time_us, day
            FROM sequences
        ) LEFT JOIN items USING (item_id)
    """)
    connection.execute("""
        INSERT INTO long_view_history
        SELECT user_id, item_id, position, time_us, day, author_id, tag
        FROM (
            SELECT user_id, unnest(long_watch_seq)::BIGINT AS item_id,
                unnest(range(len(long_watch_seq))) AS position, time_us, day
            FROM sequences
        ) LEFT JOIN items USING (item_id)
    """)


def _check_unique(connection: duckdb.DuckDBPyConnection, table: str, key: str, name: str, file: Path) -> None:
    repeated = connection.execute(f"SELECT {key} FROM {table} GROUP BY {key} HAVING count(*) > 1 LIMIT 1").fetchone()
    if repeated is not None:
        raise DataError("A raw file of KuaiRand repeats a key", where=f"column {name} of {file}", found=repeated[0])
