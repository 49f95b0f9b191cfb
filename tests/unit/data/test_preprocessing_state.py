"""States of buckets: in memory, on disk and damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mtl_ray.data.preprocessing import PreprocessingConfig, fit
from mtl_ray.data.preprocessing_state import STATE_FILE, PreprocessingState
from mtl_ray.data.service_spec import Encoding, FeatureSpec
from mtl_ray.errors import DataError, SnapshotError


def spec(name: str, encoding: Encoding, vocabulary: str | None = None) -> FeatureSpec:
    return FeatureSpec(name=name, source="view", view="v", encoding=encoding, vocabulary=vocabulary)


CONFIG = PreprocessingConfig(numeric="quantile", min_count=2, list_max_length=3)
FEATURES = (
    spec("amount/day", "numeric"),  # no file name
    spec("recent", "list", "item"),
    spec("city", "categorical"),
    spec("item", "categorical", "item"),
    spec("empty", "categorical"),
)


def rows(count: int = 300) -> pa.Table:
    rng = np.random.default_rng(5)
    return pa.table(
        {
            "amount/day": pa.array(np.where(rng.random(count) < 0.1, np.nan, rng.lognormal(size=count))),
            "recent": pa.array([rng.integers(0, 40, size).tolist() for size in rng.integers(0, 6, count)]),
            "city": pa.array([None if value == 0 else f"c{value}" for value in rng.integers(0, 9, count)]),
            "item": pa.array(rng.integers(0, 40, count)),
            "empty": pa.nulls(count),
        }
    )


def buckets(folder: Path, table: pa.Table, size: int) -> list[Path]:
    folders = []
    for start in range(0, table.num_rows, size):
        folders.append(folder / f"{start:06d}")
        PreprocessingState.of(CONFIG, FEATURES, table.slice(start, size)).write(folders[-1])
    return folders


@pytest.mark.parametrize("size", [300, 101, 7])
def test_states_on_disk_finish_to_the_fit_of_all_rows(tmp_path: Path, size: int) -> None:
    table = rows()
    folders = buckets(tmp_path, table, size)
    expected = fit(CONFIG, FEATURES, table).model_dump_json()
    assert PreprocessingState.finish_from(folders).model_dump_json() == expected
    assert PreprocessingState.merged_from(folders).finish().model_dump_json() == expected
    assert PreprocessingState.merged(map(PreprocessingState.read, folders)).finish().model_dump_json() == expected
    # A merged state is a state like any other.
    PreprocessingState.merged_from(folders[:2]).write(tmp_path / "merged")
    assert PreprocessingState.finish_from([*folders[2:], tmp_path / "merged"]).model_dump_json() == expected


def test_a_bucket_without_rows_changes_nothing() -> None:
    table = rows()
    whole, empty = (PreprocessingState.of(CONFIG, FEATURES, part) for part in (table, table.slice(0, 0)))
    assert PreprocessingState.merged([empty, whole, empty]).finish() == whole.finish()
    assert empty.finish().missing == {feature.name: 0.0 for feature in FEATURES}


def test_text_in_one_bucket_and_integers_in_another_are_refused() -> None:
    table = rows(4)
    text = table.set_column(3, "item", pa.array(["1", "2", "3", "4"]))
    states = [PreprocessingState.of(CONFIG, FEATURES, part) for part in (table, text)]
    with pytest.raises(DataError, match=r"'item' has different types[\s\S]*int64 and large_string"):
        PreprocessingState.merged(states)


def test_states_of_other_configs_do_not_merge(tmp_path: Path) -> None:
    table = rows(10)
    other = CONFIG.model_copy(update={"list_max_length": 2})
    for number, config in enumerate((CONFIG, other)):
        PreprocessingState.of(config, FEATURES, table).write(tmp_path / str(number))
    with pytest.raises(ValueError, match="different configs or features"):
        PreprocessingState.finish_from([tmp_path / "0", tmp_path / "1"])
    with pytest.raises(ValueError, match="at least one state"):
        PreprocessingState.merged([])


@pytest.mark.parametrize("file", [STATE_FILE, "feature-00000.parquet", "feature-00003.parquet"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:40])])
def test_a_damaged_bucket_is_named(tmp_path: Path, file: str, damage: Callable[[Path], object]) -> None:
    folders = buckets(tmp_path, rows(), 150)
    damage(folders[1] / file)
    for reading in (lambda: PreprocessingState.finish_from(folders), lambda: PreprocessingState.read(folders[1])):
        with pytest.raises(SnapshotError, match="cannot be read") as error:
            reading()
        assert error.value.where == str(folders[1] / file)


def test_numbers_too_large_for_a_mean_are_refused_at_the_end() -> None:
    column = pa.table({"x": [1.7e308, -1.7e308, 0.0]})
    state = PreprocessingState.of(PreprocessingConfig(clip_quantiles=None), [spec("x", "numeric")], column)
    with pytest.raises(DataError, match=r"'x' are too large for a mean[\s\S]*from -1.7e\+308 to 1.7e\+308"):
        state.finish()
