"""What a user did with an item, its author and its tag, and in each tab, strictly before the day."""

from __future__ import annotations

import duckdb

SMOOTHING = 5
"""How many impressions at the user's own rate are added to those counted."""

TABS = (0, 1, 2, 4, 6)
"""The tabs with 99 % of the impressions."""

PAIR_KEYS = {"item": "item_id", "author": "author_id", "tag": "tag"}


def create_user_item(connection: duckdb.DuckDBPyConnection) -> None:
    """Creates `user_item_daily`: one row for each (user_id, item_id, day) of the log.

    Columns: for the item, its author and its (main) tag `user_<kind>_impressions`, `user_<kind>_click_rate` and
    `user_<kind>_long_view_rate`, over the user's impressions before the day; NULL rates where there were none.
    The rows are those of the log because all pairs would be too many. Their presence tells nothing of the outcome,
    since every impression has its row; the values come from earlier days alone.
    """
    connection.execute("CREATE TABLE shown_pairs AS SELECT DISTINCT user_id, item_id, author_id, tag, day FROM log")
    for kind, key in PAIR_KEYS.items():
        connection.execute(f"""
            CREATE TABLE user_{kind}_pairs AS
            WITH pairs AS (SELECT DISTINCT user_id, {key}, day FROM shown_pairs)
            SELECT pairs.user_id, pairs.{key}, pairs.day, count(*) AS shown, count(*) FILTER (logged) AS logged,
                coalesce(sum(click), 0) AS clicks, sum(long_view) AS long_views
            FROM pairs JOIN outcomes AS o
                ON o.user_id = pairs.user_id AND o.{key} = pairs.{key} AND o.day < pairs.day
            GROUP BY ALL
        """)
    joins = " ".join(
        f"LEFT JOIN user_{kind}_pairs AS {kind} ON {kind}.user_id = p.user_id AND {kind}.{key} = p.{key} "
        f"AND {kind}.day = p.day"
        for kind, key in PAIR_KEYS.items()
    )
    columns = ", ".join(_pair_features(kind) for kind in PAIR_KEYS)
    connection.execute(f"""
        CREATE TABLE user_item_daily AS
        SELECT p.user_id, p.item_id, p.day, {columns}
        FROM shown_pairs AS p JOIN user_daily AS u ON u.user_id = p.user_id AND u.day = p.day {joins}
        ORDER BY p.user_id, p.item_id, p.day
    """)


def create_user_tabs(connection: duckdb.DuckDBPyConnection) -> None:
    """Creates `user_tab_daily`: the click and long-view rates in each of TABS, in the rows of `user_daily`.

    A rate is drawn to the rate of all users in that tab by SMOOTHING impressions.
    """
    columns, totals, averages = [], [], []
    for tab in TABS:
        for rate, outcome in (("click_rate", "click"), ("long_view_rate", "long_view")):
            average = f"{rate}_{tab}"
            averages.append(f"avg({outcome}) FILTER (tab = {tab}) AS {average}")
            columns.append(
                f"((coalesce({outcome}_{tab}, 0) + {SMOOTHING} * {average})"
                f" / (coalesce(logged_{tab}, 0) + {SMOOTHING}))::FLOAT AS user_tab{tab}_{rate}"
            )
            totals.append(f"sum({outcome}) FILTER (tab = {tab}) AS {outcome}_{tab}")
        columns.append(f"coalesce(logged_{tab}, 0)::BIGINT AS user_tab{tab}_impressions")
        totals.append(f"count(*) FILTER (tab = {tab}) AS logged_{tab}")
    connection.execute(f"""
        CREATE TABLE user_tab_daily AS
        WITH averages AS (
            SELECT days.day, {", ".join(averages)} FROM days JOIN log ON log.day < days.day GROUP BY days.day
        ), totals AS (
            SELECT days.day, user_id, {", ".join(totals)}
            FROM days JOIN log ON log.day < days.day GROUP BY days.day, user_id
        )
        SELECT u.user_id, u.day, {", ".join(columns)}
        FROM user_daily AS u LEFT JOIN averages USING (day) LEFT JOIN totals USING (user_id, day)
        ORDER BY u.user_id, u.day
    """)


def _pair_features(kind: str) -> str:
    count = f"coalesce({kind}.shown, 0)::BIGINT AS user_{kind}_impressions"
    clicks = f"(({kind}.clicks + {SMOOTHING} * u.user_click_rate) / ({kind}.logged + {SMOOTHING}))::FLOAT"
    views = f"(({kind}.long_views + {SMOOTHING} * u.user_long_view_rate) / ({kind}.shown + {SMOOTHING}))::FLOAT"
    return f"{count}, {clicks} AS user_{kind}_click_rate, {views} AS user_{kind}_long_view_rate"
