"""The latest-value join against a brute-force reference, in every kind of plan, and its place in a set's identity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from mtl_ray.data.feature_store import FeatureRepo
from mtl_ray.data.join.parquet_rows import TableRows
from mtl_ray.data.join.plan import JoinPlan, Shuffle
from mtl_ray.data.join.run import joined_buckets, new_join
from mtl_ray.data.join.stages import Join
from mtl_ray.data.join.views import JoinView
from mtl_ray.data.snapshot import TrainingSetConfig, build_training_set
from mtl_ray.errors import FeatureStoreError
from tests.tiny_shop import TIMESTAMP, at
from tests.unit.data.test_snapshot import TASKS, Shop

SPINE = 200


def write_view(file: Path, draw: np.random.Generator, keyed: bool) -> list[dict[str, Any]]:
    """Rows of a view with ties in both times, null keys, null times and null created times."""
    rows = []
    for number in range(300):
        time = None if number % 41 == 0 else int(draw.integers(-50, 400))
        created = None if draw.random() < 0.2 else int(draw.integers(0, 3))
        key = None if draw.random() < 0.05 else int(draw.integers(0, 20))
        rows.append({"key": key if keyed else 0, "time": time, "created": created, "value": number})
    columns = {
        "key": pa.array([row["key"] for row in rows], pa.int64()),
        "at": pa.array([None if row["time"] is None else at(row["time"]) for row in rows], TIMESTAMP),
        "made": pa.array([None if row["created"] is None else at(row["created"]) for row in rows], TIMESTAMP),
        "value": pa.array([row["value"] for row in rows]),
    }
    pq.write_table(pa.table(columns), file)
    return rows


def newest(rows: list[dict[str, Any]], key: int | None) -> tuple[int | None, Any]:
    """Value and time of the newest row of `key`, by (time, created, position), null created smallest."""
    candidates = [
        (row["time"], -1 if row["created"] is None else row["created"], position, row["value"])
        for position, row in enumerate(rows)
        if key is not None and row["key"] == key and row["time"] is not None
    ]
    if not candidates:
        return None, None
    time, _, _, value = max(candidates)
    return value, at(time)


def plans(join: Join) -> Iterator[JoinPlan]:
    yield join.plan
    yield replace(join.plan, bucket_rows=70)
    yield JoinPlan(SPINE, 70, (1,), (Shuffle("user", (0,), 3),), (50, 50))


def test_every_row_gets_the_newest_row_of_its_key(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    keyed = write_view(tmp_path / "keyed.parquet", draw, True)
    keyless = write_view(tmp_path / "keyless.parquet", draw, False)
    keys = [None if draw.random() < 0.1 else int(draw.integers(0, 25)) for _ in range(SPINE)]
    times = [int(draw.integers(-100, 500)) for _ in range(SPINE)]
    spine = pa.table({"user": pa.array(keys, pa.int64()), "when": pa.array([at(time) for time in times], TIMESTAMP)})

    def view(name: str, on: tuple[tuple[str, str], ...]) -> JoinView:
        # A ttl and known_only that would hide most rows: a plain join on the keys knows neither.
        path, columns = str(tmp_path / f"{name}.parquet"), (("value", f"{name}_value"),)
        return JoinView(name, path, on, "at", "made", 5_000_000, columns, True, f"{name}_time", latest=True)

    views = [view("keyed", (("key", "user"),)), view("keyless", ())]
    join = new_join(TableRows(spine), views, "when", budget=1 << 30, folder=None)
    expected = [newest(keyed, key) for key in keys]
    for number, plan in enumerate(plans(join)):
        work = tmp_path / f"work-{number}"
        planned = replace(join, plan=plan, folder=work, identity=str(work))
        result = pa.concat_tables(list(joined_buckets(planned, lambda table: table, lambda _: None)))
        assert result["keyed_value"].to_pylist() == [value for value, _ in expected], plan
        assert result["keyed_time"].to_pylist() == [time for _, time in expected], plan
        value, time = newest(keyless, 0)
        assert set(result["keyless_value"].to_pylist()) == {value}, plan
        assert set(result["keyless_time"].to_pylist()) == {time}, plan
    assert sum(value is not None for value, _ in expected) > SPINE / 2


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("latest"))


def test_a_naive_set_is_never_found_as_an_honest_one(shop: Shop) -> None:
    honest = shop.build(shop.root / "runs")
    config = shop.config()
    arguments: Any = (str(shop.root / "runs"), shop.features, config, TASKS, "user_id")
    naive = build_training_set(*arguments, latest_views=("user_profile",))
    assert naive.manifest.id != honest.manifest.id
    assert not naive.found
    assert build_training_set(*arguments).manifest.id == honest.manifest.id
    with pytest.raises(ValidationError, match="latest_views"):
        TrainingSetConfig.model_validate({**config.model_dump(), "latest_views": ["user_profile"]})
    with pytest.raises(ValueError, match="latest_views"):
        build_training_set(*arguments, since=at(990), latest_views=("user_profile",))


def test_an_unknown_view_is_refused(shop: Shop, tmp_path: Path) -> None:
    repo = FeatureRepo(shop.features)
    rows = TableRows(pq.read_table(shop.root / "spine" / "part-0.parquet"))
    with pytest.raises(FeatureStoreError, match="no view 'user_profil'") as caught:
        repo.plan_join(rows, ("hour",), folder=tmp_path, latest_views=("user_profil",))
    assert "did you mean 'user_profile'?" in str(caught.value)
