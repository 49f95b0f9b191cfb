"""Daily aggregates of users, items, authors and tags, each from the log strictly before the day it is stamped with."""

from __future__ import annotations

import duckdb

SMOOTHING = {"user": 10, "item": 20, "author": 20, "tag": 50}
"""How many impressions at the average rate are added to those counted, so that rare keys stay near the average."""

RECENT_SMOOTHING = 10
"""The same for the last days, whose rates are drawn to the key's own rate over all days."""

KEYS = {"user": "user_id", "item": "item_id", "author": "author_id", "tag": "tag"}
RECENT_DAYS = {"user": (3,), "item": (1, 3), "author": (3,), "tag": (3,)}

# rate -> (successes, trials). History from before the log knows views and likes only, so those have trials of
# their own (`shown`: log and history) and the others count the log alone.
RATES = {
    "click_rate": ("clicks", "logged"),
    "long_view_rate": ("long_views", "shown"),
    "like_rate": ("likes", "shown"),
    "profile_enter_rate": ("profile_enters", "logged"),
    "watch_seconds": ("seconds", "logged"),
    "watch_ratio": ("watch_ratios", "timed"),
}
RECENT_RATES = {"click_rate": ("clicks", "logged"), "long_view_rate": ("logged_long_views", "logged")}

COUNTS = {
    "shown": "count(*)",
    "logged": "count(*) FILTER (logged)",
    "timed": "count(watch_ratio)",
    "clicks": "coalesce(sum(click), 0)",
    "long_views": "sum(long_view)",
    "logged_long_views": "coalesce(sum(long_view) FILTER (logged), 0)",
    "likes": 'sum("like")',
    "profile_enters": "coalesce(sum(profile_enter), 0)",
    "seconds": "coalesce(sum(watch_ms * 0.001), 0)",
    "watch_ratios": "coalesce(sum(watch_ratio), 0)",
}
"""What is summed, in whole numbers or decimals: exact, so that every run gives the same bytes."""


def create_outcomes(connection: duckdb.DuckDBPyConnection) -> None:
    """Creates `outcomes` (log and history, one row an impression), `days` and `average` from the raw tables.

    `days` holds every day that a snapshot is made for: from the day after the first to the day after the last of
    the log. `average` holds the rates over all impressions before each of those days.
    """
    connection.execute("""
        CREATE TABLE outcomes AS
        SELECT TRUE AS logged, user_id, item_id, author_id, tag, tab, day, click, long_view, "like", profile_enter,
            watch_ms, watch_ratio
        FROM log
        UNION ALL
        SELECT FALSE, user_id, item_id, author_id, tag, NULL, day, NULL, long_view, "like", NULL, NULL, NULL
        FROM history
    """)
    connection.execute("""
        CREATE TABLE days AS
        SELECT unnest(range(min(day) + INTERVAL 1 DAY, max(day) + INTERVAL 2 DAY, INTERVAL 1 DAY))::DATE AS day FROM log
    """)
    rates = ", ".join(f"sum({top}) / nullif(sum({bottom}), 0) AS {rate}" for rate, (top, bottom) in RATES.items())
    connection.execute(f"""
        CREATE TABLE average AS
        SELECT days.day, {rates}
        FROM days JOIN (SELECT day, {_counts()} FROM outcomes GROUP BY day) AS counted ON counted.day < days.day
        GROUP BY days.day
    """)


def create_daily(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Creates the table `<name>_daily`: one row for each key of `name` and each of `days`, from earlier days alone.

    `name` is one of KEYS. Columns: key, day, `<name>_impressions` (log and history), the rates of RATES over all
    earlier days and, for the last `d` days, `<name>_impressions_<d>d` and the rates of RECENT_RATES. A rate is
    drawn to the average of the same time by SMOOTHING impressions; NULL where nothing at all was known.
    """
    key = KEYS[name]
    keys = {
        "user": "SELECT user_id FROM users UNION SELECT user_id FROM outcomes",
        "item": "SELECT item_id FROM items",
        "author": "SELECT DISTINCT author_id FROM items WHERE author_id IS NOT NULL",
        "tag": "SELECT DISTINCT tag FROM items WHERE tag IS NOT NULL",
    }[name]
    windows = ["PARTITION BY key ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING AS before"]
    sums = [f"coalesce(sum({count}) OVER before, 0) AS {count}" for count in COUNTS]
    for days in RECENT_DAYS[name]:
        windows.append(f"PARTITION BY key ORDER BY day ROWS BETWEEN {days} PRECEDING AND 1 PRECEDING AS last_{days}")
        sums += [
            f"coalesce(sum({count}) OVER last_{days}, 0) AS {count}_{days}"
            for count in ("logged", "clicks", "logged_long_views")
        ]
    # The frames count rows, so the grid must hold every day, the first of the log and of the history included.
    connection.execute(f"""
        CREATE TABLE {name}_daily AS
        WITH grid AS (
            SELECT key, unnest(range(first, last + INTERVAL 2 DAY, INTERVAL 1 DAY))::DATE AS day
            FROM ({keys}) AS keys (key), (SELECT min(day) AS first, max(day) AS last FROM outcomes)
        ), counted AS (
            SELECT {key} AS key, day, {_counts()} FROM outcomes WHERE {key} IS NOT NULL GROUP BY ALL
        ), prior AS (
            SELECT key, day, {", ".join(sums)}
            FROM grid LEFT JOIN counted USING (key, day)
            WINDOW {", ".join(f"{w.rsplit(' AS ', 1)[1]} AS ({w.rsplit(' AS ', 1)[0]})" for w in windows)}
        ), rated AS (
            SELECT prior.*, {", ".join(_rate(rate, SMOOTHING[name]) for rate in RATES)}
            FROM prior JOIN average USING (day)
        )
        SELECT key AS {key}, day, {", ".join(_features(name))}
        FROM rated ORDER BY key, day
    """)


def daily_features(name: str) -> list[str]:
    """The feature columns of `<name>_daily`, in order."""
    recent = [f"{name}_{feature}_{days}d" for days in RECENT_DAYS[name] for feature in ("impressions", *RECENT_RATES)]
    return [f"{name}_impressions", *(f"{name}_{rate}" for rate in RATES), *recent]


def _counts() -> str:
    return ", ".join(f"{expression} AS {count}" for count, expression in COUNTS.items())


def _rate(rate: str, smoothing: int) -> str:
    top, bottom = RATES[rate]
    return f"({top} + {smoothing} * average.{rate}) / ({bottom} + {smoothing}) AS {rate}"


def _features(name: str) -> list[str]:
    features = [f"shown::BIGINT AS {name}_impressions"]
    features += [f"{rate}::FLOAT AS {name}_{rate}" for rate in RATES]
    for days in RECENT_DAYS[name]:
        features.append(f"logged_{days}::BIGINT AS {name}_impressions_{days}d")
        for rate, (top, bottom) in RECENT_RATES.items():
            smoothed = f"({top}_{days} + {RECENT_SMOOTHING} * {rate}) / ({bottom}_{days} + {RECENT_SMOOTHING})"
            features.append(f"({smoothed})::FLOAT AS {name}_{rate}_{days}d")
    return features
