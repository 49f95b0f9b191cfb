"""The benchmark's own reference: right against a brute force, agreed on by two engines, and not to be fooled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.benchmarks.point_in_time_join.dataset import SLATES, Dataset
from tests.benchmarks.point_in_time_join.duckdb_asof import duckdb_asof
from tests.benchmarks.point_in_time_join.polars_asof import polars_asof
from tests.benchmarks.point_in_time_join.reference import Difference, compare, matched_rows, write_reference
from tests.benchmarks.point_in_time_join.views import (
    CREATED_TIMESTAMP,
    EVENT_TIMESTAMP,
    FEATURES,
    ROW,
    SPINE_COLUMNS,
    VIEWS,
    View,
)

ROWS = 500
RIGHT = Difference(returned=ROWS, lost=0, duplicated=0, wrong=0, wrong_values={})


@pytest.fixture(scope="module", params=list(SLATES))
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    made = Dataset(tmp_path_factory.mktemp("join") / "data", request.param, ROWS, null_keys=0.03)
    made.write()
    write_reference(made)
    return made


def brute_force(dataset: Dataset, view: View) -> list[int]:
    """Row by row: the newest source row not after the spine row nor older than ttl, the later created of equals."""
    times = [EVENT_TIMESTAMP, CREATED_TIMESTAMP]
    source = pq.read_table(dataset.source(view))
    moments = [source[name].cast(pa.int64()).to_pylist() for name in times]
    by_key: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
    for row, key in enumerate(zip(*(source[name].to_pylist() for name in view.keys), strict=True)):
        by_key.setdefault(key, []).append((moments[0][row], moments[1][row], row))
    spine = pq.read_table(dataset.spine)
    matched = []
    keys = zip(*(spine[name].to_pylist() for name in view.keys), strict=True)
    for key, now in zip(keys, spine[EVENT_TIMESTAMP].cast(pa.int64()).to_pylist(), strict=True):
        oldest = now - view.ttl_us if view.ttl_us else 0
        usable = [] if None in key else [row for row in by_key.get(key, []) if oldest <= row[0] <= now]
        matched.append(max(usable)[2] if usable else -1)
    return matched


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_reference_is_the_brute_force(dataset: Dataset, view: View) -> None:
    matched = matched_rows(dataset, view)
    assert matched.tolist() == brute_force(dataset, view)
    assert 0.05 < np.mean(matched >= 0) < 1.0


def test_data_holds_what_a_join_gets_wrong(dataset: Dataset) -> None:
    spine = pq.read_table(dataset.spine)
    requests = spine.group_by(EVENT_TIMESTAMP).aggregate([([], "count_all")])["count_all"]
    assert pc.max(requests).as_py() == SLATES[dataset.kind]
    pairs = spine.filter(pc.is_valid(spine["item_id"])).group_by([EVENT_TIMESTAMP, "item_id"]).aggregate([])
    assert pairs.num_rows == ROWS - spine["item_id"].null_count
    assert spine["user_id"].null_count > 0
    for view in VIEWS:
        source = pq.read_table(dataset.source(view))
        assert source[EVENT_TIMESTAMP].type == pa.timestamp("us", "UTC")
        keyed = source.filter(pc.and_(source[view.keys[0]].is_valid(), source[view.keys[-1]].is_valid()))
        assert keyed.num_rows < source.num_rows
        moment = [*view.keys, EVENT_TIMESTAMP]
        assert keyed.group_by(moment).aggregate([]).num_rows < keyed.num_rows
        assert keyed.group_by([*moment, CREATED_TIMESTAMP]).aggregate([]).num_rows == keyed.num_rows
    assert len(FEATURES) == 22


def test_same_seed_same_data(dataset: Dataset, tmp_path: Path) -> None:
    again = Dataset(tmp_path / "again", dataset.kind, ROWS, null_keys=0.03)
    again.write()
    other = Dataset(tmp_path / "other", dataset.kind, ROWS, null_keys=0.03, seed=1)
    other.write()
    for view in VIEWS:
        assert pq.read_table(again.source(view)).equals(pq.read_table(dataset.source(view)))
        assert not pq.read_table(other.source(view)).equals(pq.read_table(dataset.source(view)))


@pytest.mark.parametrize("engine", [duckdb_asof, polars_asof])
def test_bare_engines_are_right(dataset: Dataset, engine: Callable[[Dataset], pa.Table]) -> None:
    result = engine(dataset)
    assert sorted(result.column_names) == sorted([*SPINE_COLUMNS, *FEATURES])
    assert compare(dataset, result) == RIGHT


def test_comparison_sees_lost_doubled_and_wrong_rows(dataset: Dataset) -> None:
    right = duckdb_asof(dataset)
    assert compare(dataset, right.slice(3)) == Difference(ROWS - 3, 3, 0, 0, {})
    doubled = pa.concat_tables([right, right.slice(7, 2)])
    assert compare(dataset, doubled) == Difference(ROWS + 2, 0, 2, 0, {})
    stranger = right.slice(0, 1).set_column(0, ROW, pa.array([ROWS], pa.int64()))
    assert compare(dataset, pa.concat_tables([right, stranger])) == Difference(ROWS + 1, 0, 1, 0, {})
    assert compare(dataset, right.drop_columns([ROW])).lost == ROWS
    assert compare(dataset, right.drop_columns(["pair_views"])) == Difference(ROWS, 0, 0, ROWS, {"pair_views": ROWS})


@pytest.mark.parametrize("name", ["user_last_session", "item_price", "item_brand", "click", EVENT_TIMESTAMP])
@pytest.mark.parametrize("change", ["null", "neighbour"])
def test_comparison_sees_one_wrong_value(dataset: Dataset, name: str, change: str) -> None:
    right = duckdb_asof(dataset).sort_by(ROW)
    values = right[name].to_pylist()
    row = next(row for row, value in enumerate(values) if value is not None)
    values[row] = None if change == "null" else next(value for value in values if value not in (None, values[row]))
    position = right.column_names.index(name)
    wrong = right.set_column(position, name, pa.array(values, right.schema.field(name).type))
    assert compare(dataset, wrong) == Difference(ROWS, 0, 0, 1, {name: 1})


def test_comparison_takes_other_types_but_no_rounded_ids(dataset: Dataset) -> None:
    right = duckdb_asof(dataset)
    retyped = right
    for name, wanted in (
        ("item_stock", pa.float64()),
        ("item_brand", pa.large_string()),
        (EVENT_TIMESTAMP, pa.timestamp("ns", "Asia/Tokyo")),
    ):
        retyped = retyped.set_column(retyped.column_names.index(name), name, retyped[name].cast(wanted))
    assert compare(dataset, retyped) == RIGHT
    ids = right["user_last_session"].cast(pa.float64(), safe=False)
    rounded = right.set_column(right.column_names.index("user_last_session"), "user_last_session", ids)
    assert compare(dataset, rounded).wrong > 0.5 * (ROWS - right["user_last_session"].null_count)
