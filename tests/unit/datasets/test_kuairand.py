"""KuaiRand on small raw files, against aggregates that are counted again row by row."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtl_ray.datasets.kuairand import aggregates, interactions, prepare_kuairand
from mtl_ray.datasets.kuairand.raw_files import OFFICIAL_LOGS
from mtl_ray.errors import ConfigError, DataError
from tests.kuairand_raw import (
    AUTHOR,
    FIRST_DAY,
    ITEMS,
    NUM_DAYS,
    TAG,
    USERS,
    make_log,
    make_sequences,
    midnight,
    write_excerpt,
    write_official,
)

KEYS = {
    "user_profile": ["user_id"],
    "user_daily": ["user_id"],
    "user_tab_daily": ["user_id"],
    "user_recent": ["user_id"],
    "item_profile": ["item_id"],
    "item_daily": ["item_id"],
    "item_author_daily": ["item_id"],
    "item_tag_daily": ["item_id"],
    "user_item_daily": ["user_id", "item_id"],
}


def day_of(time_ms: int) -> date:
    return (datetime.fromtimestamp(time_ms / 1000, tz=UTC) + timedelta(hours=8)).date()


@pytest.fixture(scope="module")
def log() -> pd.DataFrame:
    return make_log()


@pytest.fixture(scope="module")
def sequences() -> pd.DataFrame:
    return make_sequences()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, log: pd.DataFrame, sequences: pd.DataFrame) -> Path:
    folder = tmp_path_factory.mktemp("kuairand")
    prepare_kuairand(folder / "out", write_excerpt(folder / "raw", log, sequences))
    return folder / "out"


def read(out: Path, table: str) -> pd.DataFrame:
    return pq.read_table(out / "features" / f"{table}.parquet").to_pandas()


@pytest.fixture(scope="module")
def outcomes(log: pd.DataFrame, sequences: pd.DataFrame) -> list[dict[str, Any]]:
    """Every impression that an aggregate may count, in order: the sequences as days before the log, then the log."""
    rows: list[dict[str, Any]] = []
    for sequence in sequences.itertuples():
        for item in sequence.watch_seq:
            rows.append(
                {
                    "user": sequence.user_id,
                    "item": item,
                    "day": FIRST_DAY - timedelta(days=1),
                    "long_view": int(item in sequence.long_watch_seq),
                    "like": int(item in sequence.like_seq),
                    "logged": False,
                    "time_ms": sequence.last_time_ms,
                }
            )
    for row in log.sort_values(["time_ms", "video_id", "tab", "play_time_ms"]).itertuples():
        rows.append(
            {
                "user": row.user_id,
                "item": row.video_id,
                "day": day_of(row.time_ms),
                "tab": row.tab,
                "click": row.is_click,
                "long_view": row.long_view,
                "like": row.is_like,
                "profile_enter": row.is_profile_enter,
                "seconds": row.play_time_ms / 1000,
                "ratio": min(row.play_time_ms / row.duration_ms, 5) if row.duration_ms else None,
                "logged": True,
                "time_ms": row.time_ms,
            }
        )
    for row in rows:
        row["author"] = AUTHOR[row["item"]]
        tags = TAG[row["item"]]
        row["tag"] = int(tags.split(",")[0]) if tags else None
    return rows


OUTCOME_OF = {
    "click_rate": "click",
    "long_view_rate": "long_view",
    "like_rate": "like",
    "profile_enter_rate": "profile_enter",
    "watch_seconds": "seconds",
    "watch_ratio": "ratio",
}


def smoothed(values: list[float], toward: float, weight: float) -> float:
    return (sum(values) + weight * toward) / (len(values) + weight)


def expected_daily(outcomes: list[dict[str, Any]], kind: str, key: int, day: date) -> dict[str, float]:
    """The features of one row, by reading every impression before `day` again."""
    before = [row for row in outcomes if row["day"] < day]
    mine = [row for row in before if row[kind] == key]
    features: dict[str, float] = {f"{kind}_impressions": len(mine)}
    for feature, outcome in OUTCOME_OF.items():
        known = [row[outcome] for row in before if row.get(outcome) is not None]
        values = [row[outcome] for row in mine if row.get(outcome) is not None]
        features[f"{kind}_{feature}"] = smoothed(values, sum(known) / len(known), aggregates.SMOOTHING[kind])
    for days in aggregates.RECENT_DAYS[kind]:
        recent = [row for row in mine if row["logged"] and row["day"] >= day - timedelta(days=days)]
        features[f"{kind}_impressions_{days}d"] = len(recent)
        for feature in ("click_rate", "long_view_rate"):
            values = [row[OUTCOME_OF[feature]] for row in recent]
            own = features[f"{kind}_{feature}"]
            features[f"{kind}_{feature}_{days}d"] = smoothed(values, own, aggregates.RECENT_SMOOTHING)
    return features


def stamped_day(row: Any) -> date:
    day = (row.event_timestamp + timedelta(hours=8)).date()
    assert row.event_timestamp == midnight(day)
    assert row.created_timestamp == row.event_timestamp
    return day


@pytest.mark.parametrize(
    ("table", "kind"),
    [("user_daily", "user"), ("item_daily", "item"), ("item_author_daily", "author"), ("item_tag_daily", "tag")],
)
def test_daily_aggregates_count_the_days_before_and_no_other(
    prepared: Path, outcomes: list[dict[str, Any]], table: str, kind: str
) -> None:
    frame = read(prepared, table)
    tagged = sum(tag is not None for tag in TAG)
    keys = {"user": USERS, "item": ITEMS, "author": ITEMS, "tag": tagged}[kind]
    assert len(frame) == keys * NUM_DAYS  # of the days after the first, and the one after the last
    for row in frame.itertuples():
        day = stamped_day(row)
        key = row.user_id if kind == "user" else row.item_id
        if kind == "author":
            key = AUTHOR[key]
        elif kind == "tag":
            key = int(str(TAG[key]).split(",")[0])
        expected = expected_daily(outcomes, kind, key, day)
        found = {name: getattr(row, name) for name in expected}
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6), (table, key, day)


def test_pair_aggregates_count_the_days_before_and_no_other(prepared: Path, outcomes: list[dict[str, Any]]) -> None:
    frame = read(prepared, "user_item_daily")
    shown = {(row["user"], row["item"], row["day"]) for row in outcomes if row["logged"] and row["day"] > FIRST_DAY}
    assert {(row.user_id, row.item_id, stamped_day(row)) for row in frame.itertuples()} == shown
    nothing_known = 0
    for row in frame.itertuples():
        day = stamped_day(row)
        user = expected_daily(outcomes, "user", row.user_id, day)
        tag = TAG[row.item_id]
        values = {"item": row.item_id, "author": AUTHOR[row.item_id], "tag": int(tag.split(",")[0]) if tag else None}
        for kind, value in values.items():
            before = [
                r
                for r in outcomes
                if r["day"] < day and r["user"] == row.user_id and value is not None and r[kind] == value
            ]
            assert getattr(row, f"user_{kind}_impressions") == len(before)
            for feature in ("click_rate", "long_view_rate"):
                found = getattr(row, f"user_{kind}_{feature}")
                if not before:
                    assert np.isnan(found)
                    nothing_known += 1
                    continue
                known = [r[OUTCOME_OF[feature]] for r in before if r.get(OUTCOME_OF[feature]) is not None]
                expected = smoothed(known, user[f"user_{feature}"], interactions.SMOOTHING)
                assert found == pytest.approx(expected, rel=1e-5)
    assert 0 < nothing_known < 6 * len(frame)


def test_tab_aggregates_count_the_days_before_and_no_other(prepared: Path, outcomes: list[dict[str, Any]]) -> None:
    for row in read(prepared, "user_tab_daily").itertuples():
        day = stamped_day(row)
        for tab in interactions.TABS:
            before = [r for r in outcomes if r["logged"] and r["day"] < day and r["tab"] == tab]
            mine = [r for r in before if r["user"] == row.user_id]
            assert getattr(row, f"user_tab{tab}_impressions") == len(mine)
            for feature in ("click_rate", "long_view_rate"):
                outcome = OUTCOME_OF[feature]
                average = sum(r[outcome] for r in before) / len(before)
                expected = smoothed([r[outcome] for r in mine], average, interactions.SMOOTHING)
                assert getattr(row, f"user_tab{tab}_{feature}") == pytest.approx(expected, rel=1e-5)


def listed(values: Any) -> list[Any]:
    return [] if values is None else list(values)


def check_history(row: Any, items: str, others: str, events: list[dict[str, Any]]) -> None:
    """Item, author, main tag and time of the last fifty `events`, entry by entry."""
    events = events[-50:]
    tags = [TAG[event["item"]] for event in events]
    assert listed(getattr(row, items)) == [event["item"] for event in events]
    assert listed(getattr(row, f"{others}_authors")) == [AUTHOR[event["item"]] for event in events]
    assert listed(getattr(row, f"{others}_tags")) == [int(tag.split(",")[0]) if tag else -1 for tag in tags]
    found = [pd.Timestamp(moment).tz_localize(None) for moment in listed(getattr(row, f"{others}_times"))]
    assert found == [pd.Timestamp(event["time_ms"], unit="ms") for event in events]


def test_recent_items_are_the_last_fifty_before_the_day(
    prepared: Path, outcomes: list[dict[str, Any]], sequences: pd.DataFrame
) -> None:
    frame = read(prepared, "user_recent")
    longest = 0
    for user in range(USERS):
        mine = frame[frame["user_id"] == user]
        days = {FIRST_DAY + timedelta(days=1)} if any(r["user"] == user for r in outcomes) else set()
        days |= {r["day"] + timedelta(days=1) for r in outcomes if r["user"] == user and r["logged"]}
        assert {stamped_day(row) for row in mine.itertuples()} == days
        own = next((s for s in sequences.itertuples() if s.user_id == user), None)
        long_before = (
            [] if own is None else [{"item": item, "time_ms": own.last_time_ms} for item in own.long_watch_seq]
        )
        for row in mine.itertuples():
            day = stamped_day(row)
            naive_midnight = pd.Timestamp(midnight(day)).tz_localize(None)
            before = [r for r in outcomes if r["user"] == user and r["day"] < day]
            check_history(row, "recent_items", "recent", before)
            viewed = [*long_before, *(r for r in before if r["logged"] and r["long_view"])]
            check_history(row, "recent_long_views", "recent_long_view", viewed)
            assert all(pd.Timestamp(moment) < naive_midnight for moment in listed(row.recent_times))
            longest = max(longest, len(row.recent_items))
    assert longest == 50


def test_what_happens_on_a_day_changes_no_feature_of_that_day(
    tmp_path: Path, prepared: Path, log: pd.DataFrame, sequences: pd.DataFrame
) -> None:
    day = FIRST_DAY + timedelta(days=3)
    changed = log.copy()
    later = changed["time_ms"] >= int(midnight(day).timestamp() * 1000)
    for column in ("is_click", "is_like", "long_view", "is_profile_enter"):
        changed.loc[later, column] = 1 - changed.loc[later, column]
    changed.loc[later, "play_time_ms"] += 5_000
    out = tmp_path / "out"
    prepare_kuairand(out, write_excerpt(tmp_path / "raw", changed, sequences))
    for table in KEYS:
        one, two = read(prepared, table), read(out, table)
        until = one["event_timestamp"] <= midnight(day)
        pd.testing.assert_frame_equal(one[until], two[two["event_timestamp"] <= midnight(day)])
        if "daily" in table:
            # The comparison can see a difference: the next day's features do change.
            assert until.any()
            assert not one[~until].reset_index(drop=True).equals(two[~until].reset_index(drop=True))


def test_spine_has_every_impression_with_its_labels_and_context(prepared: Path, log: pd.DataFrame) -> None:
    table = pq.read_table(prepared / "spine" / "part-0.parquet")
    assert table.schema.field("event_timestamp").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("user_id").type == table.schema.field("item_id").type == pa.int64()
    spine = table.to_pandas()
    assert list(spine.columns[:3]) == ["user_id", "item_id", "event_timestamp"]
    assert spine["event_timestamp"].is_monotonic_increasing
    assert not spine.isna().any().any()
    china = pd.to_datetime(log["time_ms"], unit="ms", utc=True).dt.tz_convert("Asia/Shanghai")
    expected = pd.DataFrame(
        {
            "user_id": log["user_id"],
            "item_id": log["video_id"],
            "event_timestamp": china.dt.tz_convert("UTC").dt.as_unit("us"),
            "click": log["is_click"],
            "like": log["is_like"],
            "long_view": log["long_view"],
            "profile_enter": log["is_profile_enter"],
            "watch_time": log["play_time_ms"] / 1000,
            "tab": log["tab"],
            "hour": china.dt.hour,
            "weekday": china.dt.weekday,
        }
    )
    order = ["event_timestamp", "user_id", "item_id", "tab", "watch_time"]
    pd.testing.assert_frame_equal(
        spine.sort_values(order, ignore_index=True),
        expected.sort_values(order, ignore_index=True),
        check_dtype=False,
    )


def test_no_outcome_is_a_feature_column(prepared: Path) -> None:
    outcome_names = {"click", "like", "long_view", "profile_enter", "watch_time", "play_time_ms", "watch_ratio"}
    for table, keys in KEYS.items():
        stored = pq.read_table(prepared / "features" / f"{table}.parquet")
        assert not outcome_names & set(stored.column_names)
        # The types of the example's Feast views: a rate of another precision would be rounded in the join.
        rates = [
            f for f in stored.schema if f.name.endswith(("_rate", "_ratio", "_1d", "_3d")) and f.name != "aspect_ratio"
        ]
        assert all(f.type == (pa.int64() if "_impressions" in f.name else pa.float32()) for f in rates)
        assert stored.column_names[: len(keys)] == keys
        assert stored.schema.field("event_timestamp").type == pa.timestamp("us", tz="UTC")
        frame = stored.to_pandas()
        assert not frame.duplicated([*keys, "event_timestamp"]).any()


def test_sentinels_are_null_and_tags_are_lists(prepared: Path, log: pd.DataFrame) -> None:
    users = pq.read_table(prepared / "features" / "user_profile.parquet").to_pylist()
    assert [row["is_live_streamer"] for row in users] == [1, None] * (USERS // 2)
    assert [row["user_active_degree"] for row in users] == ["full_active", None] * (USERS // 2)
    assert [row["onehot_feat4"] for row in users] == [None, 3] * (USERS // 2)
    items = pq.read_table(prepared / "features" / "item_profile.parquet").to_pylist()
    assert [row["item_tags"] for row in items[:4]] == [[39, 68], [39], [3], None]
    assert [row["item_tag"] for row in items[:4]] == [39, 39, 3, None]
    assert [row["music_id"] for row in items[:2]] == [None, 9_170_219_122]
    assert [row["duration_seconds"] for row in items[:2]] == [None, 15.033]
    first = datetime.fromtimestamp(log["time_ms"].min() / 1000, tz=UTC)
    assert all(row["event_timestamp"] <= first for row in [*users, *items])


def test_same_files_give_the_same_bytes(
    tmp_path: Path, prepared: Path, log: pd.DataFrame, sequences: pd.DataFrame
) -> None:
    shuffled = log.sample(frac=1, random_state=3)
    out = tmp_path / "out"
    summary = prepare_kuairand(out, write_excerpt(tmp_path / "raw", shuffled, sequences))
    files = sorted(file.relative_to(prepared) for file in prepared.rglob("*") if file.is_file())
    assert files == sorted(file.relative_to(out) for file in out.rglob("*") if file.is_file())
    assert all((out / file).read_bytes() == (prepared / file).read_bytes() for file in files)
    assert json.loads((out / "dataset.json").read_text()) == summary
    assert summary["rows"] == len(log)
    assert summary["label_means"]["click"] == pytest.approx(log["is_click"].mean(), abs=1e-6)


def test_official_files(tmp_path: Path, log: pd.DataFrame) -> None:
    ordered = log.sort_values("time_ms", kind="stable", ignore_index=True)
    raw = write_official(tmp_path / "raw", ordered)
    third = len(ordered) // 3
    plain = prepare_kuairand(tmp_path / "plain", raw)
    assert plain["layout"] == "official"
    assert plain["rows"] == 2 * third
    assert prepare_kuairand(tmp_path / "random", raw, random_log=True)["rows"] == len(ordered)
    # Without sequences the lists begin with the log.
    recent = read(tmp_path / "plain", "user_recent")
    first = recent[recent["event_timestamp"] == midnight(FIRST_DAY + timedelta(days=1))]
    today = ordered[ordered["time_ms"].map(day_of) == FIRST_DAY]
    assert {row.user_id: len(row.recent_items) for row in first.itertuples()} == dict(today["user_id"].value_counts())


def test_spine_from_leaves_the_earlier_log_to_the_aggregates(tmp_path: Path, prepared: Path) -> None:
    day = FIRST_DAY + timedelta(days=4)
    out = tmp_path / "out"
    prepare_kuairand(out, prepared.parent / "raw", spine_from=day.isoformat())
    spine = pq.read_table(out / "spine" / "part-0.parquet").to_pandas()
    whole = pq.read_table(prepared / "spine" / "part-0.parquet").to_pandas()
    later = whole[whole["event_timestamp"] >= midnight(day)]
    pd.testing.assert_frame_equal(spine, later.reset_index(drop=True))
    for table in KEYS:
        assert (out / "features" / f"{table}.parquet").read_bytes() == (
            prepared / "features" / f"{table}.parquet"
        ).read_bytes()


def test_raw_folder_is_needed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"kuairand\.com") as error:
        prepare_kuairand(tmp_path / "out")
    assert all(name in str(error.value) for name in (*OFFICIAL_LOGS, "user_features_pure.csv"))
    with pytest.raises(DataError, match="does not exist"):
        prepare_kuairand(tmp_path / "out", tmp_path / "absent")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ["user_features_pure.csv", "video_features_basic_pure.csv", "user_sequences_upto_train_end.parquet"]
)
def test_missing_file_of_the_excerpt_is_named(
    tmp_path: Path, log: pd.DataFrame, sequences: pd.DataFrame, name: str
) -> None:
    raw = write_excerpt(tmp_path / "raw", log, sequences)
    (raw / name).unlink()
    with pytest.raises(DataError, match=f"missing: {name}"):
        prepare_kuairand(tmp_path / "out", raw)


def test_missing_official_log_is_named(tmp_path: Path, log: pd.DataFrame) -> None:
    raw = write_official(tmp_path / "raw", log)
    (raw / "KuaiRand-Pure" / "data" / OFFICIAL_LOGS[0]).unlink()
    with pytest.raises(DataError, match=f"missing: {OFFICIAL_LOGS[0]}"):
        prepare_kuairand(tmp_path / "out", raw)


def drop_tab(log: pd.DataFrame) -> pd.DataFrame:
    return log.drop(columns="tab")


def negative_play_time(log: pd.DataFrame) -> pd.DataFrame:
    return log.assign(play_time_ms=[-7, *log["play_time_ms"][1:]])


def click_of_two(log: pd.DataFrame) -> pd.DataFrame:
    return log.assign(is_click=[2, *log["is_click"][1:]])


def click_in_words(log: pd.DataFrame) -> pd.DataFrame:
    return log.assign(is_click="yes")


def nobody(log: pd.DataFrame) -> pd.DataFrame:
    return log.iloc[:0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_tab, r"missing: tab"),
        (negative_play_time, r"(?s)play_time_ms.*-7"),
        (click_of_two, r"(?s)is_click.*2.*0, 1"),
        (click_in_words, r"(?s)wrong type.*yes"),
        (nobody, "empty"),
    ],
)
def test_unusable_log_is_refused(
    tmp_path: Path,
    log: pd.DataFrame,
    sequences: pd.DataFrame,
    damage: Callable[[pd.DataFrame], pd.DataFrame],
    message: str,
) -> None:
    raw = write_excerpt(tmp_path / "raw", damage(log), sequences)
    with pytest.raises(DataError, match=message):
        prepare_kuairand(tmp_path / "out", raw)
    assert not (tmp_path / "out").exists()


def test_repeated_item_is_refused(tmp_path: Path, log: pd.DataFrame, sequences: pd.DataFrame) -> None:
    raw = write_excerpt(tmp_path / "raw", log, sequences)
    items = pd.read_csv(raw / "video_features_basic_pure.csv")
    pd.concat([items, items.iloc[[4]]]).to_csv(raw / "video_features_basic_pure.csv", index=False)
    with pytest.raises(DataError, match=r"(?s)repeats a key.*video_id"):
        prepare_kuairand(tmp_path / "out", raw)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"random_logs": True}, "random_log"),
        ({"spine_from": "yesterday"}, "2022-04-25"),
        ({"random_log": True}, r"(?i)excerpt"),
    ],
)
def test_unusable_option_is_refused(tmp_path: Path, prepared: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        prepare_kuairand(tmp_path / "out", prepared.parent / "raw", **options)


def test_spine_that_would_be_empty_is_refused(tmp_path: Path, prepared: Path) -> None:
    with pytest.raises(DataError, match="2030-01-01"):
        prepare_kuairand(tmp_path / "out", prepared.parent / "raw", spine_from="2030-01-01")
