"""Appending newer rows to a training set: what stays, what grows, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtl_ray.data.packing import unpacked
from mtl_ray.data.snapshot import Snapshot, build_training_set
from mtl_ray.errors import DataError, SnapshotError
from mtl_ray.schema import UNKNOWN_ID
from tests.tiny_shop import START, at
from tests.unit.data.test_snapshot import TASKS, Shop, table

OLD, NEW = 700, 300


class Growing(Shop):
    """The shop of the snapshot tests, whose spine grows by rows with one user that nobody has seen."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.whole = pq.read_table(root / "spine")
        users = self.whole["user_id"].to_numpy().copy()
        users[OLD::9] = 77
        self.whole = self.whole.set_column(0, "user_id", pa.array(users))
        self.show(OLD)

    def show(self, rows: int) -> None:
        """Let the spine have its first `rows` rows."""
        pq.write_table(self.whole.slice(0, rows), self.root / "spine" / "part-0.parquet")

    def append(self, storage: Path, said: list[str] | None = None, **changes: Any) -> Snapshot:
        arguments = (str(storage), self.features, self.config(**changes), TASKS, "user_id")
        return build_training_set(*arguments, (said if said is not None else []).append, at(OLD))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Growing:
    return Growing(tmp_path_factory.mktemp("growing"))


@pytest.fixture(scope="module")
def sets(shop: Growing) -> tuple[Snapshot, Snapshot, list[str]]:
    """The base, what was put on top of it, and what was said meanwhile."""
    said: list[str] = []
    base = shop.build(shop.root / "runs")
    shop.show(OLD + NEW)
    return base, shop.append(shop.root / "runs", said), said


def test_older_rows_train_and_newer_rows_are_split_by_time(sets: tuple[Snapshot, Snapshot, list[str]]) -> None:
    _, grown, _ = sets
    assert grown.manifest.rows == {"train": OLD + 210, "validation": 30, "test": 60}
    assert sorted(table(grown, "train")["row_id"].to_pylist()) == list(range(OLD + 210))
    assert table(grown, "validation")["row_id"].to_pylist() == list(range(OLD + 210, OLD + 240))
    assert table(grown, "test")["row_id"].to_pylist() == list(range(OLD + 240, OLD + NEW))
    assert grown.manifest.boundaries.first == START
    assert grown.manifest.spine.rows == OLD + NEW


def test_nothing_old_is_encoded_again(sets: tuple[Snapshot, Snapshot, list[str]]) -> None:
    base, grown, _ = sets
    old = [file.sha256 for files in base.manifest.files.values() for file in files]
    assert [file.sha256 for file in grown.manifest.files["train"]][: len(old)] == old
    assert grown.manifest.preprocessing.numeric == base.manifest.preprocessing.numeric


def test_vocabularies_grow_at_their_end_and_are_named(sets: tuple[Snapshot, Snapshot, list[str]]) -> None:
    base, grown, said = sets
    before = base.manifest.preprocessing.vocabularies["user_id"].values
    after = grown.manifest.preprocessing.vocabularies["user_id"].values
    assert 77 not in before
    assert after == (*before, 77)
    assert any("vocabulary user_id: 1 new values" in line for line in said)
    record = grown.manifest.appended
    assert record is not None
    assert record.base == base.manifest.id
    assert record.vocabularies["user_id"].new_size == record.vocabularies["user_id"].old_size + 1
    new = table(grown, "test")
    ids = unpacked(new["categorical"])[:, 0]
    np.testing.assert_array_equal(ids[new["user_id"].to_numpy() == 77], len(before) + 2)
    assert UNKNOWN_ID not in ids


def test_label_statistics_are_those_of_all_training_rows(sets: tuple[Snapshot, Snapshot, list[str]]) -> None:
    _, grown, _ = sets
    row = np.arange(OLD + 210)
    assert grown.manifest.label_statistics["click"].observed == OLD + 210
    assert grown.manifest.label_statistics["click"].mean == pytest.approx((row % 3 == 0).mean())
    assert grown.manifest.label_rates["test"]["click"].observed == 60


def test_the_same_append_is_found_again(shop: Growing, sets: tuple[Snapshot, Snapshot, list[str]]) -> None:
    base, grown, _ = sets
    arguments = (str(shop.root / "runs"), shop.features, shop.config(), TASKS, "user_id", None, at(OLD), base.path)
    again = build_training_set(*arguments)
    assert again.found
    assert again.path == grown.path


def test_newer_rows_are_those_after_the_last_one(shop: Growing, tmp_path: Path) -> None:
    def newer(rows: int, **changes: Any) -> tuple[Snapshot, list[str]]:
        said: list[str] = []
        shop.show(rows)
        arguments = (str(tmp_path), shop.features, shop.config(**changes), TASKS, "user_id", said.append)
        return build_training_set(*arguments, newer=True), said

    first, said = newer(OLD)
    assert "there is no training set of the service yet: all rows are taken" in said
    assert first.manifest.appended is None
    second, _ = newer(OLD + NEW)
    assert second.manifest.appended is not None
    assert second.manifest.appended.base == first.manifest.id
    assert second.manifest.rows == {"train": OLD + 210, "validation": 30, "test": 60}
    # A retry of the job whose first attempt has got so far.
    again, said = newer(OLD + NEW)
    assert (again.found, again.path) == (True, second.path)
    assert any("no row that is newer" in line for line in said)
    with pytest.raises(SnapshotError, match="built otherwise"):
        newer(OLD + NEW, split={"by": "random", "validation": 0.1, "test": 0.1})
    assert len(list((tmp_path / "training_sets").glob("*/manifest.json"))) == 2


def test_what_does_not_fit_is_refused(
    shop: Growing, sets: tuple[Snapshot, Snapshot, list[str]], tmp_path: Path
) -> None:
    base, _, _ = sets

    def appended(since: Any, **changes: Any) -> None:
        config = shop.config(**changes)
        build_training_set(str(shop.root / "runs"), shop.features, config, TASKS, "user_id", None, since, base.path)

    with pytest.raises(DataError, match=r"holds rows from this time on already[\s\S]*00:11:39"):
        appended(at(OLD - 1))
    with pytest.raises(DataError, match="no row to append"):
        appended(at(OLD + NEW) + timedelta(days=1))
    with pytest.raises(DataError, match="needs a time zone"):
        appended(at(OLD).replace(tzinfo=None))
    with pytest.raises(DataError, match="sampled"):
        appended(at(OLD), negative_sampling={"task": "click", "keep": 0.5})
    with pytest.raises(SnapshotError, match=r"built otherwise[\s\S]*sample_weight"):
        appended(at(OLD), sample_weight="importance")
    with pytest.raises(SnapshotError, match=r"no training set of the service[\s\S]*tiny_v1"):
        shop.append(tmp_path)
