"""Precomputed vectors: one size a feature, zeros where missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mtl_ray.data.contract.missing import missing_rows
from mtl_ray.data.packing import unpacked
from mtl_ray.data.preprocessing import Preprocessing, PreprocessingConfig, fit
from mtl_ray.data.preprocessing_state import PreprocessingState
from mtl_ray.data.service_spec import FeatureSpec
from mtl_ray.data.vocabulary_growth import grow
from mtl_ray.errors import DataError

CONFIG = PreprocessingConfig()
TASTE = (FeatureSpec(name="taste", source="view", view="users", dtype="Array(Float32)", encoding="vector"),)
NAN, INF = float("nan"), float("inf")


def rows(vectors: list[Any], kind: pa.DataType | None = None) -> pa.Table:
    values = pa.array(vectors, kind or pa.list_(pa.float32()))
    return pa.table({"taste": values, "row_id": pa.array([10 + row for row in range(len(vectors))])})


def encoded(preprocessing: Preprocessing, table: pa.Table) -> list[list[float]]:
    found: list[list[float]] = unpacked(preprocessing.encode(table)["vector_taste"]).tolist()
    return found


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float16()), pa.list_(pa.int64()), None],
)
def test_vectors_are_packed_and_zero_where_missing(kind: pa.DataType | None) -> None:
    vectors = [[1.0, -2.0], None, [], [0.0, 3.0]]
    if kind is None:
        kind, vectors[2] = pa.list_(pa.float32(), 2), None
    table = rows(vectors, kind)
    preprocessing = fit(CONFIG, TASTE, table)
    assert [(item.name, item.size) for item in preprocessing.batch_schema(["click"]).vectors] == [("taste", 2)]
    assert encoded(preprocessing, table) == [[1, -2], [0, 0], [0, 0], [0, 3]]
    assert encoded(preprocessing, table.slice(1, 3)) == [[0, 0], [0, 0], [0, 3]]
    assert encoded(preprocessing, rows([None, None], kind)) == [[0, 0], [0, 0]]
    assert preprocessing.missing == {"taste": 0.5}
    assert preprocessing.encode(table)["vector_taste"].type.value_type == pa.float32()


def test_a_vector_with_an_entry_that_is_no_number_is_missing_as_a_whole() -> None:
    table = rows([[1.0, NAN], [INF, 1.0], [1.0, None], [1e300, 1.0], [1.0, 2.0], [NAN]], pa.list_(pa.float64()))
    preprocessing = fit(CONFIG, TASTE, table)
    assert encoded(preprocessing, table) == [[0, 0]] * 4 + [[1, 2], [0, 0]]
    assert preprocessing.missing["taste"] == pytest.approx(5 / 6)
    # The contract counts the same rows.
    np.testing.assert_array_equal(missing_rows(table["taste"], TASTE[0]), [True] * 4 + [False, True])


def test_another_size_is_refused_in_training_and_later(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'taste' have different sizes[\s\S]*spine row 12[\s\S]*3 numbers[\s\S]*2, as"):
        fit(CONFIG, TASTE, rows([None, [1.0, 2.0], [1.0, 2.0, 3.0]]))
    parts = [rows([[1.0, 2.0]]), rows([None]), rows([None, [1.0]])]
    for number, part in enumerate(parts):
        PreprocessingState.of(CONFIG, TASTE, part).write(tmp_path / str(number))
    folders = [tmp_path / str(number) for number in range(3)]
    with pytest.raises(DataError, match=r"spine row 11, feature taste[\s\S]*1 numbers[\s\S]*2, as"):
        PreprocessingState.finish_from(folders)
    preprocessing = PreprocessingState.finish_from(folders[:2])
    assert preprocessing == PreprocessingState.merged_from(folders[:2]).finish()
    with pytest.raises(DataError, match=r"spine row 11, feature taste[\s\S]*3 numbers"):
        preprocessing.encode(rows([[1.0, 2.0], [1.0, 2.0, 3.0]]))


def test_a_training_part_without_a_vector_is_refused() -> None:
    for table in (rows([None, []]), rows([None], pa.null())):
        with pytest.raises(DataError, match=r"No training row has a vector of 'taste'[\s\S]*not finite in all of"):
            fit(CONFIG, TASTE, table)


@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.float32()])
def test_other_columns_are_refused(kind: pa.DataType) -> None:
    values = pa.array([["a"]], kind) if pa.types.is_list(kind) else pa.array([1.0], kind)
    with pytest.raises(DataError, match=r"'taste' does not hold (vectors|lists)[\s\S]*a list of numbers"):
        fit(CONFIG, TASTE, pa.table({"taste": values}))


def test_appended_rows_keep_the_size() -> None:
    before = fit(CONFIG, TASTE, rows([[1.0, 2.0]]))
    for new in (rows([[5.0, 6.0]]), rows([None])):  # none at all is no other size
        assert grow(before, PreprocessingState.of(CONFIG, TASTE, new), CONFIG)[0] == before
    with pytest.raises(DataError, match=r"taste: a vector of 3 numbers[\s\S]*taste: a vector of 2 numbers"):
        grow(before, PreprocessingState.of(CONFIG, TASTE, rows([[1.0, 2.0, 3.0]])), CONFIG)
