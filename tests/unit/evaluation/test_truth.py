"""True probabilities come to the rows that they belong to, or it is said why they cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtl_ray.errors import DataError
from mtl_ray.evaluation.truth import read_truth, with_truth

KEYS = ("user_id", "item_id")
TASKS = ["click", "rating"]


def table(ids: list[int]) -> pa.Table:
    return pa.table(
        {
            "user_id": pa.array([row % 2 for row in ids], pa.int64()),
            "item_id": pa.array([row % 3 for row in ids], pa.int64()),
            "event_timestamp": pa.array([row * 1_000_000 for row in ids]).cast(pa.timestamp("us", "UTC")),
        }
    )


def truth_table(ids: list[int]) -> pa.Table:
    return table(ids).append_column("click", pa.array([row / 10 for row in ids], pa.float32()))


def predictions(ids: list[int]) -> pa.Table:
    lists = pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(ids, 2).astype(np.float32)), 2)
    return table(ids).append_column("row_id", pa.array(ids)).append_column("rating__prediction", lists)


def joined(truth: pa.Table, predicted: pa.Table, folder: Path) -> pa.Table:
    pq.write_table(truth, folder / "truth.parquet")
    return with_truth(predicted, read_truth(str(folder / "truth.parquet"), KEYS, TASKS))


def test_each_row_gets_its_own(tmp_path: Path) -> None:
    result = joined(truth_table([5, 3, 1, 0, 2, 4]), predictions([4, 2, 5]), tmp_path)
    assert result["row_id"].to_pylist() == [2, 4, 5]
    assert result["click__truth"].type == pa.float64()
    np.testing.assert_allclose(result["click__truth"].to_numpy(), [0.2, 0.4, 0.5], rtol=1e-6)
    assert result["rating__prediction"].to_pylist() == [[2, 2], [4, 4], [5, 5]]
    assert "rating__truth" not in result.column_names


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "truth.parquet").write_text("no Parquet")
    for path in (tmp_path / "absent", tmp_path / "truth.parquet"):
        with pytest.raises(DataError, match=f"cannot be read[\\s\\S]*evaluation.truth: {path}"):
            read_truth(str(path), KEYS, TASKS)


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (truth_table([0, 1, 2]).drop_columns("item_id"), "lacks columns"),
        (table([0, 1, 2]), "lacks columns[\\s\\S]*at least one of click, rating"),
        (table([0, 1, 2]).append_column("click", pa.array([["a"]] * 3)), "holds no numbers[\\s\\S]*column click"),
        (truth_table([0, 1, 2, 2]), "a key more than once[\\s\\S]*1 rows too many"),
        (truth_table([0, 2]), "misses rows of the spine[\\s\\S]*1 rows without a probability"),
        (truth_table([0, 1, 2]).set_column(0, "user_id", pa.array(["u0", "u1", "u2"])), "have other types"),
    ],
)
def test_a_table_that_cannot_be_used(truth: pa.Table, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        joined(truth, predictions([0, 1, 2]), tmp_path)
