"""Data sets are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mtl_ray.datasets.tables import feature_table, named, nullable, staged, write_summary, write_table
from mtl_ray.errors import StorageError


def _write(out: Path, value: int) -> None:
    with staged(out) as folder:
        write_table(pa.table({"value": [value]}), folder / "features" / "t.parquet")
        write_summary({"value": value}, folder)


def _write_half(out: Path) -> None:
    with staged(out) as folder:
        (folder / "half").write_text("x")
        raise RuntimeError("killed")


def test_a_finished_data_set_replaces_the_one_before_and_leaves_nothing_else(tmp_path: Path) -> None:
    _write(tmp_path / "a" / "data", 1)
    _write(tmp_path / "a" / "data", 2)
    assert (tmp_path / "a" / "data" / "dataset.json").read_text() == '{\n  "value": 2\n}\n'
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["data"]


def test_a_failure_leaves_the_data_set_before_and_nothing_half_written(tmp_path: Path) -> None:
    _write(tmp_path / "data", 1)
    with pytest.raises(RuntimeError, match="killed"):
        _write_half(tmp_path / "data")
    assert (tmp_path / "data" / "dataset.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_failure_of_the_first_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        _write_half(tmp_path / "data")
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StorageError) as caught:
        _write(tmp_path, 1)
    assert "not a data set" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_file_in_the_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    with pytest.raises(StorageError, match="a file has this name"):
        _write(tmp_path / "data", 1)


def test_a_path_below_a_file_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be written") as caught:
        _write(tmp_path / "file" / "data", 1)
    assert str(tmp_path / "file" / "data") in str(caught.value)


def test_a_folder_that_takes_no_files_is_refused() -> None:
    with pytest.raises(StorageError) as caught:
        _write(Path("/proc/data"), 1)  # refuses root too, whom permissions do not stop
    assert "/proc" in str(caught.value)


def test_a_data_set_is_as_readable_as_other_folders(tmp_path: Path) -> None:
    _write(tmp_path / "data", 1)
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "data").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_columns_get_their_nulls_names_and_times() -> None:
    table = feature_table(
        {"user_id": np.array([1, 2])},
        {
            "size": nullable(np.array([np.nan, 2.0]), dtype=pa.int64()),
            "kind": named(np.array([1, 0]), ("a", "b"), np.array([False, True])),
        },
        np.array([0, 1_500_000]),
        np.array([1, 1_500_001]),
    )
    assert table.schema.field("event_timestamp").type == pa.timestamp("us", tz="UTC")
    assert table["size"].to_pylist() == [None, 2]
    assert table["kind"].to_pylist() == ["b", None]
    assert table["event_timestamp"].to_pylist()[1].isoformat() == "1970-01-01T00:00:01.500000+00:00"
