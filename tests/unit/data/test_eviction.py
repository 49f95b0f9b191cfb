"""Values that no row has shown for long lose their ids to new ones."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_ray.data.eviction import places
from mtl_ray.data.packing import unpacked
from mtl_ray.data.preprocessing import Preprocessing, PreprocessingConfig, fit
from mtl_ray.data.preprocessing_state import PreprocessingState
from mtl_ray.data.snapshot import build_training_set
from mtl_ray.data.vocabulary_growth import Growth, grow
from mtl_ray.errors import DataError
from mtl_ray.schema import UNKNOWN_ID
from mtl_ray.storage import sha256
from tests.tiny_shop import at
from tests.unit.data.test_append import NEW, OLD, Growing
from tests.unit.data.test_snapshot import TASKS, table
from tests.unit.data.test_vocabulary_growth import CITY, FEATURES

DAY = 86_400_000_000
CONFIG = PreprocessingConfig(evict_after=timedelta(days=10))


def rows(values: list[Any], days: list[int]) -> pa.Table:
    times = pa.array([day * DAY for day in days], pa.timestamp("us", "UTC"))
    return pa.table({"city": values, "event_timestamp": times})


def grown(
    old: pa.Table, new: pa.Table, config: PreprocessingConfig = CONFIG
) -> tuple[Preprocessing, Preprocessing, Growth]:
    before = fit(config, CITY, old)
    after, growth = grow(before, PreprocessingState.of(config, CITY, new), config)
    return before, after, growth["city"]


def test_values_not_seen_of_late_are_unknown_from_the_first_fit_on() -> None:
    fitted = fit(CONFIG, CITY, rows(["a", "b", "b", "b", "a"], [0, 5, 6, 14, 25]))
    assert fitted.vocabularies["city"].values == ("a",)
    assert fitted.vocabularies["city"].last_seen == (25 * DAY,)
    assert Preprocessing.model_validate_json(fitted.model_dump_json()) == fitted
    limit = fit(CONFIG, CITY, rows(["b", "a"], [15, 25]))
    assert set(limit.vocabularies["city"].values) == {"a", "b"}
    always = fit(PreprocessingConfig(), CITY, rows(["b", "a"], [0, 25]))
    assert always.vocabularies["city"].last_seen is None


def test_new_values_take_the_ids_of_those_that_are_gone() -> None:
    old = rows(["a", "a", "a", "b", "b", "c"], [1, 2, 3, 3, 4, 4])
    before, after, growth = grown(old, rows(["x", "x", "c", "y"], [14, 15, 15, 15]))
    assert before.vocabularies["city"].values == ("a", "b", "c")
    # a was last seen on day 3, b on day 4, which is before day 5.
    assert after.vocabularies["city"].values == ("x", "y", "c")
    assert after.vocabularies["city"].last_seen == (15 * DAY,) * 3
    assert growth == Growth(old_size=5, new_size=5, unknown_share=3 / 4, below_min_count=0, over_limit=0, evicted=2)
    assert growth.added == 2
    np.testing.assert_array_equal(after.vocabularies["city"].ids(pa.array(["a", "b"], pa.large_string()), "city"), 1)


def test_without_new_values_the_last_ones_move_into_free_places() -> None:
    old = rows(["a", "a", "a", "b", "b", "c"], [1, 2, 3, 9, 9, 9])
    _, after, growth = grown(old, rows(["b", "c"], [15, 15]))
    assert after.vocabularies["city"].values == ("c", "b")
    assert (growth.evicted, growth.added, growth.new_size) == (1, 0, 4)


def test_a_full_vocabulary_has_room_again_and_old_new_rows_admit_nothing() -> None:
    config = CONFIG.model_copy(update={"max_vocabulary": 2})
    _, after, growth = grown(rows(["a", "a", "b"], [15, 15, 20]), rows(["x", "y", "y", "b"], [30, 9, 9, 30]), config)
    assert after.vocabularies["city"].values == ("x", "b")
    assert (growth.evicted, growth.below_min_count, growth.over_limit) == (1, 1, 0)


def test_lists_and_features_that_share_a_vocabulary_count_as_sights() -> None:
    def shop(items: list[Any], recent: list[Any], days: list[int]) -> pa.Table:
        return pa.table(
            {
                "item": pa.array(items, pa.int64()),
                "recent": pa.array(recent, pa.list_(pa.int64())),
                "price": pa.array([1.0] * len(items), pa.float64()),
                "event_timestamp": pa.array([day * DAY for day in days], pa.timestamp("us", "UTC")),
            }
        )

    fitted = fit(CONFIG, FEATURES, shop([1, 2, 3, None], [None, None, [1], [9, 3]], [0, 1, 20, 25]))
    assert dict(zip(fitted.vocabularies["item"].values, fitted.vocabularies["item"].last_seen or (), strict=True)) == {
        1: 20 * DAY,
        3: 25 * DAY,
        9: 25 * DAY,
    }
    with pytest.raises(DataError, match="event_timestamp"):
        fit(CONFIG, FEATURES, shop([1], [None], [0]).drop_columns(["event_timestamp"]))


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 8))
def test_every_place_is_taken_once_and_few_values_move(kept: list[bool], added: int) -> None:
    found = places(np.array(kept, dtype=bool), added).tolist()
    staying = [number for number, stays in enumerate(kept) if stays]
    assert sorted(found) == [*staying, *range(len(kept), len(kept) + added)]
    freed = len(kept) - len(staying)
    moved = [number for place, number in enumerate(found) if number < len(kept) and place != number]
    assert len(moved) <= max(freed - added, 0)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Growing:
    return Growing(tmp_path_factory.mktemp("forgetting"))


def test_older_shards_of_an_appended_set_show_the_new_ids(shop: Growing, tmp_path: Path) -> None:
    users = shop.whole["user_id"].to_numpy().copy()
    first = int(users[0])
    users[300 : OLD + NEW][users[300 : OLD + NEW] == first] = 88
    shop.whole = shop.whole.set_column(0, "user_id", pa.array(users))
    shop.show(OLD)
    # Seen for the last time before row 300: of OLD + 210 training rows, each a second later than the last one.
    kept = {"preprocessing": {"evict_after": f"PT{OLD + 210 - 300}S"}}
    base = shop.build(tmp_path, preprocessing={"evict_after": "P1D"})
    files = {file.path: file.sha256 for files in base.manifest.files.values() for file in files}
    shop.show(OLD + NEW)
    said: list[str] = []
    after = build_training_set(
        str(tmp_path), shop.features, shop.config(**kept), TASKS, "user_id", said.append, at(OLD), base.path
    )
    before, now = (one.manifest.preprocessing.vocabularies["user_id"] for one in (base, after))
    assert first in before.values
    assert first not in now.values
    assert now.values[before.values.index(first)] == 77  # new in the appended rows
    assert any("vocabulary user_id: 1 values are forgotten" in line for line in said)
    rows = table(after, "train")
    ids, shown = unpacked(rows["categorical"])[:, 0], rows["user_id"].to_numpy()
    np.testing.assert_array_equal(ids, now.ids(pa.array(shown), "user_id"))
    assert (ids[shown == first] == UNKNOWN_ID).all()
    assert (shown == first).any()
    # The base, to whose files others link, is as it was.
    assert all(sha256(base.path / path) == recorded for path, recorded in files.items())
    old = pa.concat_tables([pq.read_table(path) for path, _ in base.files("train")])
    np.testing.assert_array_equal(
        unpacked(old["categorical"])[:, 0], before.ids(pa.array(old["user_id"].to_numpy()), "user_id")
    )
