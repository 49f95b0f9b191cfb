"""The part of the spine that the leak check looks at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtl_ray.data.join.parquet_rows import ParquetRows
from mtl_ray.data.spine import Spine, open_spine
from mtl_ray.errors import DataError
from mtl_ray.leak_check.sample import write_sample
from tests.tiny_shop import TIMESTAMP, at

ROWS = 20_000


@pytest.fixture(scope="module")
def spine(tmp_path_factory: pytest.TempPathFactory) -> Spine:
    folder = tmp_path_factory.mktemp("spine")
    for number, rows in enumerate(np.array_split(np.arange(ROWS), 3)):
        columns = {
            "user_id": pa.array(rows % 7, pa.int32()),
            "event_timestamp": pa.array([at(int(row)) for row in rows], TIMESTAMP),
            "click": pa.array(rows % 2),
            "unused": pa.array(rows),
        }
        pq.write_table(pa.table(columns), folder / f"part-{number}.parquet")
    return open_spine(folder, ["user_id"], ["click"])


def test_a_sample_covers_the_time_evenly_and_is_drawn_again_alike(spine: Spine, tmp_path: Path) -> None:
    written = write_sample(spine, tmp_path / "a.parquet", 4000, seed=0)
    sample = pq.read_table(tmp_path / "a.parquet")
    assert written == sample.num_rows == pytest.approx(4000, abs=4 * np.sqrt(4000 * 0.8))
    assert sample.column_names == ["user_id", "event_timestamp", "click"]
    seconds = (sample["event_timestamp"].cast(pa.int64()).to_numpy() - round(at(0).timestamp() * 1e6)) // 1_000_000
    assert (np.diff(seconds) > 0).all()
    by_fifth = np.bincount(seconds // (ROWS // 5), minlength=5)
    assert (np.abs(by_fifth - written / 5) < 4 * np.sqrt(800)).all()
    write_sample(spine, tmp_path / "b.parquet", 4000, seed=0)
    assert pq.read_table(tmp_path / "b.parquet").equals(sample)
    write_sample(spine, tmp_path / "c.parquet", 4000, seed=1)
    assert not pq.read_table(tmp_path / "c.parquet").equals(sample)


def test_a_small_spine_is_taken_whole(spine: Spine, tmp_path: Path) -> None:
    assert write_sample(spine, tmp_path / "a.parquet", ROWS, seed=0) == ROWS
    expected = spine.read(0, ROWS, spine.columns)
    assert pq.read_table(tmp_path / "a.parquet").equals(expected)


def test_a_sample_without_rows_is_refused(spine: Spine, tmp_path: Path) -> None:
    few = replace(spine, rows=ParquetRows.of(spine.rows.files[0]), first_id=0)
    empty = next(seed for seed in range(100) if _rows_drawn(few, tmp_path, seed) == 0)
    with pytest.raises(DataError, match="The sample of the spine has no rows"):
        write_sample(few, tmp_path / "empty.parquet", 1, empty)


def _rows_drawn(spine: Spine, folder: Path, seed: int) -> int:
    try:
        return write_sample(spine, folder / "drawn.parquet", 1, seed)
    except DataError:
        return 0
