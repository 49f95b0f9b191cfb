"""The last items that each user was shown, and the last that were viewed long, strictly before the day."""

from __future__ import annotations

import duckdb

LENGTH = 50


def create_recent_items(connection: duckdb.DuckDBPyConnection) -> None:
    """Creates `user_recent`: user_id, day, `recent_items`, `recent_long_views` (lists of item_id, newest last).

    `recent_items` are the user's last LENGTH impressions, whatever came of them, as in the `watch_seq` of the raw
    sequences: those, extended by the log. `recent_long_views` are the last LENGTH that were viewed long. Repeats
    stay. A user has a row for the first of `days` and for each day after one with an impression, as soon as there
    is anything to list: a row holds until the next.
    """
    connection.execute("""
        CREATE TABLE shown_items AS
        SELECT user_id, item_id, day, row_number() OVER (
            PARTITION BY user_id ORDER BY logged, position, time_us, item_id, tab, watch_ms) AS number
        FROM (
            SELECT FALSE AS logged, user_id, item_id, day, position, NULL AS time_us, NULL AS tab, NULL AS watch_ms
            FROM history
            UNION ALL SELECT TRUE, user_id, item_id, day, NULL, time_us, tab, watch_ms FROM log
        )
    """)
    connection.execute("""
        CREATE TABLE long_viewed_items AS
        SELECT user_id, item_id, day, row_number() OVER (
            PARTITION BY user_id ORDER BY logged, position, time_us, item_id, tab, watch_ms) AS number
        FROM (
            SELECT FALSE AS logged, user_id, item_id, day, position, NULL AS time_us, NULL AS tab, NULL AS watch_ms
            FROM long_view_history
            UNION ALL SELECT TRUE, user_id, item_id, day, NULL, time_us, tab, watch_ms FROM log WHERE long_view = 1
        )
    """)
    connection.execute("""
        CREATE TABLE recent_changes AS
        SELECT DISTINCT user_id, greatest(day + INTERVAL 1 DAY, first)::DATE AS day
        FROM shown_items, (SELECT min(day) AS first FROM days)
    """)
    connection.execute(f"""
        CREATE TABLE user_recent AS
        SELECT user_id, day, recent_items, recent_long_views
        FROM ({_last("shown_items", "recent_items")})
        LEFT JOIN ({_last("long_viewed_items", "recent_long_views")}) USING (user_id, day)
        ORDER BY user_id, day
    """)


def _last(table: str, name: str) -> str:
    return f"""
        WITH counted AS (
            SELECT c.user_id, c.day, max(number) AS last
            FROM recent_changes AS c JOIN {table} AS t ON t.user_id = c.user_id AND t.day < c.day
            GROUP BY c.user_id, c.day
        )
        SELECT c.user_id, c.day, list(t.item_id ORDER BY t.number) AS {name}
        FROM counted AS c JOIN {table} AS t
            ON t.user_id = c.user_id AND t.number BETWEEN c.last - {LENGTH - 1} AND c.last
        GROUP BY c.user_id, c.day
    """
