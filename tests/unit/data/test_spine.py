"""Reading spines: what comes out, and what each refusal says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtl_ray.data.spine import ROW_ID, open_spine
from mtl_ray.errors import DataError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def spine(**changes: pa.Array) -> pa.Table:
    columns = {
        "user_id": pa.array([1, 2, 3], pa.int32()),
        "query": pa.array(["a", "b", "c"]).dictionary_encode(),
        "event_timestamp": pa.array([NOON, NOON, NOON + timedelta(hours=1)], pa.timestamp("us", "UTC")),
        "click": pa.array([0, None, 1]),
        "tab": pa.array([4, 5, None]),
    }
    return pa.table({**columns, **changes})


def read(path: Path, *, labels: tuple[str, ...] = ("click",)) -> pa.Table:
    opened = open_spine(path, ["user_id", "query"], labels, ["tab"])
    return opened.read(0, opened.num_rows, (*opened.columns, ROW_ID))


def refused(tmp_path: Path, table: pa.Table, *, labels: tuple[str, ...] = ("click",)) -> str:
    pq.write_table(table, tmp_path / "spine.parquet")
    with pytest.raises(DataError) as caught:
        read(tmp_path / "spine.parquet", labels=labels)
    return str(caught.value)


def test_types_and_row_ids_over_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    pq.write_table(spine().slice(2), tmp_path / "part-1.parquet")
    pq.write_table(spine().slice(0, 2), tmp_path / "part-0.parquet")
    (tmp_path / "_SUCCESS").touch()
    pq.write_table(spine(), tmp_path / ".hidden.parquet")
    table = read(tmp_path)
    assert table["row_id"].to_pylist() == [0, 1, 2]
    assert table["user_id"].to_pylist() == [1, 2, 3]
    assert table["user_id"].type == pa.int64()
    assert table["query"].to_pylist() == ["a", "b", "c"]
    assert table["query"].type == pa.string()
    assert table["click"].to_pylist() == [0, None, 1]
    assert table["tab"].to_pylist() == [4, 5, None]


def test_zoned_nanoseconds_become_utc_microseconds(tmp_path: Path) -> None:
    zoned = spine()["event_timestamp"].cast(pa.timestamp("ns", "Asia/Shanghai"))
    pq.write_table(spine(event_timestamp=zoned), tmp_path / "spine.parquet")
    table = read(tmp_path / "spine.parquet")
    assert table["event_timestamp"].type == pa.timestamp("us", "UTC")
    assert table["event_timestamp"].to_pylist() == [NOON, NOON, NOON + timedelta(hours=1)]


def test_ids_above_2_to_53_survive(tmp_path: Path) -> None:
    ids = [2**53 + 1, 2**62 + 1, -(2**60) - 1]
    pq.write_table(spine(user_id=pa.array(ids)), tmp_path / "spine.parquet")
    assert read(tmp_path / "spine.parquet")["user_id"].to_pylist() == ids


def test_no_time_zone(tmp_path: Path) -> None:
    naive = spine()["event_timestamp"].cast(pa.timestamp("us"))
    message = refused(tmp_path, spine(event_timestamp=naive))
    assert "event_timestamp has no time zone" in message
    assert "timestamp[us]" in message
    assert "tz_localize" in message


def test_timestamps_as_text(tmp_path: Path) -> None:
    assert "type string" in refused(tmp_path, spine(event_timestamp=pa.array(["2026-01-01"] * 3)))


def test_float_keys(tmp_path: Path) -> None:
    message = refused(tmp_path, spine(user_id=pa.array([1.0, 2.0, 3.0])))
    assert "join key 'user_id' is neither an integer nor text" in message
    assert "double" in message


def test_missing_label_column_names_the_nearest(tmp_path: Path) -> None:
    message = refused(tmp_path, spine(), labels=("clicks",))
    assert "no label column 'clicks'" in message
    assert "did you mean 'click'?" in message


def test_missing_join_key_and_context_column(tmp_path: Path) -> None:
    assert "no join key 'user_id'" in refused(tmp_path, spine().drop_columns(["user_id"]))
    assert "no context column 'tab'" in refused(tmp_path, spine().drop_columns(["tab"]))


def test_no_file_and_no_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no Parquet file[\s\S]*does not exist"):
        read(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no Parquet file[\s\S]*empty folder"):
        read(tmp_path / "empty")
    assert "no rows" in refused(tmp_path, spine().slice(0, 0))


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "spine.parquet").write_text("user_id,click\n1,0\n")
    with pytest.raises(DataError, match=r"cannot be read as Parquet[\s\S]*spine\.parquet"):
        read(tmp_path / "spine.parquet")


def test_files_with_different_types_are_named(tmp_path: Path) -> None:
    pq.write_table(spine(), tmp_path / "part-0.parquet")
    pq.write_table(spine(tab=pa.array(["x", "y", "z"])), tmp_path / "part-1.parquet")
    with pytest.raises(DataError, match=r"'tab' has different types[\s\S]*part-1\.parquet[\s\S]*string"):
        read(tmp_path)
