"""Unknown values that share several ids, each by its hash."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mtl_ray.data.packing import unpacked
from mtl_ray.data.preprocessing import Preprocessing, PreprocessingConfig, fit
from mtl_ray.data.preprocessing_state import PreprocessingState
from mtl_ray.data.service_spec import FeatureSpec
from mtl_ray.data.vocabularies import Vocabulary
from mtl_ray.data.vocabulary_growth import grow
from mtl_ray.data.vocabulary_names import check_vocabulary_names
from mtl_ray.errors import ConfigError
from mtl_ray.schema import MISSING_ID, UNKNOWN_ID

MANY = 100
CITY = (
    FeatureSpec(name="city", source="view", view="v", encoding="categorical", vocabulary="place"),
    FeatureSpec(name="visited", source="view", view="v", encoding="list", vocabulary="place"),
    FeatureSpec(name="age", source="view", view="v", encoding="numeric", vocabulary=None),
)


def fitted(values: list[Any], **config: Any) -> Preprocessing:
    settings = PreprocessingConfig(**{"unknown_ids": {"place": MANY}, **config})
    return fit(settings, CITY, table(values))


def table(values: list[Any]) -> pa.Table:
    return pa.table({"city": values, "visited": [[value] for value in values], "age": [1.0] * len(values)})


def ids(preprocessing: Preprocessing, values: list[Any], column: str = "categorical") -> list[int]:
    found: list[int] = unpacked(preprocessing.encode(table(values))[column])[:, -1].tolist()
    return found


@pytest.mark.parametrize("known", [["a", "b", "b"], [5, 7, 7]])
def test_known_values_come_after_the_ids_of_unknown_ones(known: list[Any]) -> None:
    preprocessing = fitted(known)
    assert ids(preprocessing, [known[1], known[0], None]) == [UNKNOWN_ID + MANY, UNKNOWN_ID + MANY + 1, MISSING_ID]
    assert preprocessing.batch_schema(["click"]).vocabularies == {"place": 1 + MANY + 2}


@pytest.mark.parametrize("kind", [str, int])
def test_unknown_values_are_spread_evenly_and_always_alike(kind: type) -> None:
    preprocessing = fitted([kind(0)])
    values = [kind(value) for value in range(1, 20_001)]
    found = np.array(ids(preprocessing, values))
    assert ids(preprocessing, values[::-1])[::-1] == found.tolist()
    assert ids(preprocessing, values, "list_visited") == found.tolist()
    assert [ids(preprocessing, [value])[0] for value in values[:50]] == found[:50].tolist()
    counts = np.bincount(found, minlength=UNKNOWN_ID + MANY)
    assert counts[:UNKNOWN_ID].sum() == 0
    assert len(counts) == UNKNOWN_ID + MANY
    # 200 each are expected; the standard deviation of one count is 14.
    assert 130 < counts[UNKNOWN_ID:].min() <= counts.max() < 270


def test_another_process_gives_the_same_ids() -> None:
    code = (
        "import pyarrow as pa; from mtl_ray.data.vocabularies import Vocabulary; "
        f"text = Vocabulary(values=('a',), unknown_ids={MANY}); numbers = Vocabulary(values=(1,), unknown_ids={MANY}); "
        "print(text.ids(pa.array(['x', 'y', 'ä'], pa.large_string()), 'c').tolist(), "
        "numbers.ids(pa.array([2, -3, 2**62]), 'c').tolist())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    text = Vocabulary(values=("a",), unknown_ids=MANY)
    assert str(text.ids(pa.array(["x", "y", "ä"], pa.large_string()), "c").tolist()) in found.pop()


def test_rare_values_are_unknown_and_one_id_is_the_default() -> None:
    preprocessing = fitted(["a", "a", "b"], min_count=3)
    assert preprocessing.vocabularies["place"].values == ("a",)
    assert UNKNOWN_ID <= ids(preprocessing, ["b"])[0] < UNKNOWN_ID + MANY
    assert ids(fitted(["a"], unknown_ids={}), ["b", "c"]) == [UNKNOWN_ID, UNKNOWN_ID]
    assert ids(fitted([None]), ["b", None])[1] == MISSING_ID
    assert len(set(ids(fitted([None]), [f"value {number}" for number in range(50)]))) > 20


def test_growth_keeps_the_ids_and_finds_all_unknown_values() -> None:
    config = PreprocessingConfig(unknown_ids={"place": MANY})
    before = fitted(["a", "b", "b"])
    new = table(["c", "c", "d", "a"])
    after, growth = grow(before, PreprocessingState.of(config, CITY, new), config)
    assert after.vocabularies["place"] == Vocabulary(values=("b", "a", "c", "d"), unknown_ids=MANY)
    assert growth["place"].unknown_share == pytest.approx(3 / 4)
    assert (growth["place"].old_size, growth["place"].new_size) == (1 + MANY + 2, 1 + MANY + 4)
    assert ids(after, ["b", "a", "z"]) == ids(before, ["b", "a", "z"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("plaec", r"found:\s+plaec[\s\S]*allowed:\s+place[\s\S]*did you mean place\?"),
        ("city", r"city, a feature of the vocabulary place[\s\S]*did you mean place\?"),
        ("age", r"found:\s+age[\s\S]*allowed:\s+place"),
    ],
)
def test_names_that_are_no_vocabulary_are_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_vocabulary_names([name], CITY)
    check_vocabulary_names(["place"], CITY)
