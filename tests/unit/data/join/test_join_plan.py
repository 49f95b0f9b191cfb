"""Which plan a join gets: everything at once, buckets with whole views, or shuffles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtl_ray.data.join.parquet_rows import TableRows
from mtl_ray.data.join.plan import MOST_PARTITIONS, SMALLEST_BUCKET, JoinPlan, plan_join
from mtl_ray.data.join.views import JoinView
from mtl_ray.errors import ConfigError
from mtl_ray.machine_memory import default_budget, shown_bytes

MB = 1_000_000
SPINE = TableRows(
    pa.table({name: np.zeros(100_000, np.int64) for name in ("user_id", "item_id", "shop_id", "at", "row_id")})
)


def view(folder: Path, name: str, keys: tuple[str, ...], rows: int) -> JoinView:
    """A view of one feature."""
    path = folder / f"{name}.parquet"
    columns = {key: np.zeros(rows, np.int64) for key in keys}
    times = pa.array(np.zeros(rows, np.int64)).cast(pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({**columns, "time": times, name: np.zeros(rows)}), path)
    return JoinView(name, str(path), tuple((key, key) for key in keys), "time", None, None, ((name, name),))


def planned(views: list[JoinView], budget: int, most_bucket_rows: int | None = None) -> JoinPlan:
    return plan_join(SPINE, SPINE.schema.names, views, budget, most_bucket_rows)


def test_what_fits_is_joined_at_once(tmp_path: Path) -> None:
    plan = planned([view(tmp_path, "age", ("user_id",), 1000)], 1000 * MB)
    assert (plan.buckets, plan.shuffles) == (1, ())
    assert plan.bucket(0) == (0, 100_000)


def test_a_small_view_stays_whole_beside_many_buckets(tmp_path: Path) -> None:
    views = [view(tmp_path, "age", ("user_id",), 1000)]
    plan = planned(views, 20 * MB)
    assert plan.buckets > 2
    assert (plan.broadcast, plan.shuffles) == ((0,), ())
    assert plan.describe(views) == f"100,000 spine rows in {plan.buckets} buckets; whole in memory: age"


def test_a_large_view_is_shuffled(tmp_path: Path) -> None:
    views = [view(tmp_path, "age", ("user_id",), 1000), view(tmp_path, "seen", ("item_id",), 200_000)]
    plan = planned(views, 20 * MB)
    assert plan.broadcast == (0,)
    assert [(shuffle.key, shuffle.views) for shuffle in plan.shuffles] == [("item_id", (1,))]
    assert plan.shuffles[0].partitions > 5
    assert f"in {plan.shuffles[0].partitions} partitions by item_id: seen" in plan.describe(views)
    assert (plan.buckets, plan.shuffles) != (1, ())


def test_views_that_share_a_key_share_a_shuffle(tmp_path: Path) -> None:
    views = [
        view(tmp_path, "pair", ("item_id", "user_id"), 200_000),
        view(tmp_path, "age", ("user_id",), 200_000),
        view(tmp_path, "triple", ("shop_id", "user_id"), 200_000),
        view(tmp_path, "price", ("item_id",), 200_000),
    ]
    plan = planned(views, 20 * MB)
    assert plan.broadcast == ()
    served = sorted(index for shuffle in plan.shuffles for index in shuffle.views)
    assert served == [0, 1, 2, 3]
    keys = {shuffle.key: shuffle.views for shuffle in plan.shuffles}
    assert set(keys) == {"user_id", "item_id"}
    assert {1, 2} <= set(keys["user_id"])
    assert 3 in keys["item_id"]


def test_a_view_without_keys_is_never_shuffled(tmp_path: Path) -> None:
    views = [view(tmp_path, "season", (), 40_000), view(tmp_path, "age", ("user_id",), 10_000)]
    plan = planned(views, 20 * MB)
    assert 0 in plan.broadcast
    with pytest.raises(ConfigError, match="cannot be partitioned: season"):
        planned(views, 10 * MB)


def test_buckets_for_many_workers(tmp_path: Path) -> None:
    plan = planned([view(tmp_path, "age", ("user_id",), 1000)], 1000 * MB, most_bucket_rows=30_000)
    assert plan.buckets == 4
    assert plan.bucket(3) == (90_000, 100_000)


@pytest.mark.parametrize("rows", [0, 1])
def test_the_smallest_spines(tmp_path: Path, rows: int) -> None:
    spine = TableRows(SPINE.table.slice(0, rows))
    plan = plan_join(spine, spine.schema.names, [view(tmp_path, "age", ("user_id",), 0)], 10 * MB)
    assert (plan.buckets, plan.shuffles) == (1, ())
    assert plan.bucket(0) == (0, rows)


def test_more_memory_never_cuts_finer(tmp_path: Path) -> None:
    views = [view(tmp_path, "age", ("user_id",), 20_000), view(tmp_path, "seen", ("item_id",), 200_000)]
    plans = [planned(views, budget * MB) for budget in (4, 8, 16, 32, 64, 128, 256)]
    buckets = [plan.buckets for plan in plans]
    partitions = [sum(shuffle.partitions for shuffle in plan.shuffles) for plan in plans]
    assert buckets == sorted(buckets, reverse=True)
    assert partitions == sorted(partitions, reverse=True)
    assert all(plan.bucket_rows >= SMALLEST_BUCKET for plan in plans)
    assert all(shuffle.partitions <= MOST_PARTITIONS for plan in plans for shuffle in plan.shuffles)


def test_bytes_for_people() -> None:
    assert [shown_bytes(number) for number in (1500, 2_500_000, 4e9, 12_345_678_901)] == [
        "1.5 kB",
        "2.5 MB",
        "4 GB",
        "12.3 GB",
    ]
    assert default_budget() > 0
