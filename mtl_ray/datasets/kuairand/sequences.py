"""The last items that each user was shown, and the last that were viewed long, strictly before the day."""

from __future__ import annotations

import duckdb

LENGTH = 50

UNKNOWN = -1
"""Author or tag of a listed item that has none: Feast's online stores hold no null inside a list."""

IMPRESSIONS = {
    "recent_items": "item_id",
    "recent_authors": "author_id",
    "recent_tags": "tag",
    "recent_times": "time",
}
LONG_VIEWS = {
    "recent_long_views": "item_id",
    "recent_long_view_authors": "author_id",
    "recent_long_view_tags": "tag",
    "recent_long_view_times": "time",
}
"""Feature -> what it lists of each event."""


def create_recent_items(connection: duckdb.DuckDBPyConnection) -> None:
    """Creates `user_recent`: user_id, day, the lists IMPRESSIONS and LONG_VIEWS, newest last.

    IMPRESSIONS are the user's last LENGTH, whatever came of them, as in the `watch_seq` of the raw sequences: those,
    extended by the log. LONG_VIEWS are the last LENGTH that were viewed long. Repeats stay. The lists of one kind have
    one entry each for each event. A user has a row for the first of `days` and for each day after one with an
    impression, as soon as there is anything to list: a row holds until the next.
    """
    for table, history, condition in (
        ("shown_items", "history", "TRUE"),
        ("long_viewed_items", "long_view_history", "long_view = 1"),
    ):
        connection.execute(f"""
            CREATE TABLE {table} AS
            SELECT user_id, item_id, coalesce(author_id, {UNKNOWN}) AS author_id, coalesce(tag, {UNKNOWN}) AS tag,
                make_timestamp(time_us) AS time, day, row_number() OVER (
                    PARTITION BY user_id ORDER BY logged, position, time_us, item_id, tab, watch_ms) AS number
            FROM (
                SELECT FALSE AS logged, user_id, item_id, author_id, tag, time_us, day, position, NULL AS tab,
                    NULL AS watch_ms
                FROM {history}
                UNION ALL
                SELECT TRUE, user_id, item_id, author_id, tag, time_us, day, NULL, tab, watch_ms
                FROM log WHERE {condition}
            )
        """)
    connection.execute("""
        CREATE TABLE recent_changes AS
        SELECT DISTINCT user_id, greatest(day + INTERVAL 1 DAY, first)::DATE AS day
        FROM shown_items, (SELECT min(day) AS first FROM days)
    """)
    connection.execute(f"""
        CREATE TABLE user_recent AS
        SELECT user_id, day, {", ".join((*IMPRESSIONS, *LONG_VIEWS))}
        FROM ({_last("shown_items", IMPRESSIONS)})
        LEFT JOIN ({_last("long_viewed_items", LONG_VIEWS)}) USING (user_id, day)
        ORDER BY user_id, day
    """)


def _last(table: str, features: dict[str, str]) -> str:
    lists = ", ".join(f"list(t.{column} ORDER BY t.number) AS {name}" for name, column in features.items())
    return f"""
        WITH counted AS (
            SELECT c.user_id, c.day, max(number) AS last
            FROM recent_changes AS c JOIN {table} AS t ON t.user_id = c.user_id AND t.day < c.day
            GROUP BY c.user_id, c.day
        )
        SELECT c.user_id, c.day, {lists}
        FROM counted AS c JOIN {table} AS t
            ON t.user_id = c.user_id AND t.number BETWEEN c.last - {LENGTH - 1} AND c.last
        GROUP BY c.user_id, c.day
    """
