"""Labels: types given and guessed, what is written, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mtl_ray.errors import ConfigError, DataError
from mtl_ray.scaffold.labels import Label, LabelType, make_label, parse_label
from mtl_ray.scaffold.values import read_values


def label(values: list[Any], kind: LabelType | None = None) -> Label:
    return make_label("bought", "Bought", read_values(pa.array(values)), kind)


@pytest.mark.parametrize(
    ("values", "written", "note"),
    [
        (["yes", "no", None] * 20, [1, 0, None], "'no' is written as 0, 'yes' as 1"),
        (["True", "False", None] * 20, [1, 0, None], "'False' is written as 0, 'True' as 1"),
        ([True, False, None] * 20, [1, 0, None], None),
        ([2, 1, None] * 20, [1, 0, None], "1 is written as 0, 2 as 1"),
        ([1.0, 0.0, None] * 20, [1, 0, None], None),
        (["alive", "dead", None] * 20, [1, 0, None], "'dead' is written as 0, 'alive' as 1"),
        (["f", "m", None] * 20, [0, 1, None], "'f' is written as 0, 'm' as 1"),
    ],
)
def test_binary(values: list[Any], written: list[int | None], note: str | None) -> None:
    made = label(values, "binary")
    assert made.column.to_pylist()[:3] == written
    assert made.column.type == pa.int8()
    assert made.task == {"type": "binary"}
    assert made.notes == (() if note is None else (note,))
    assert made.observed == 40
    np.testing.assert_array_equal(made.numbers[:3], np.array(written, dtype=float))


def test_multiclass_lists_its_classes_and_the_rare_ones() -> None:
    made = label(["b", "a"] * 20 + ["c", None], "multiclass")
    assert made.task == {"type": "multiclass", "classes": ["a", "b", "c"]}
    assert made.notes == ("fewer than 10 rows of the classes 'c'",)
    assert made.numbers[0] == 1.0
    assert np.isnan(made.numbers[-1])
    assert label([3.0, 1.0, 2.0, None] * 20, "multiclass").task["classes"] == [1, 2, 3]


def test_a_skewed_amount_is_learnt_on_the_log_scale() -> None:
    rng = np.random.default_rng(0)
    amounts = rng.lognormal(3.0, 1.0, 500)
    assert label(amounts.tolist(), "regression").task == {"type": "regression", "transform": "log1p"}
    assert label((amounts - 50.0).tolist(), "regression").task == {"type": "regression"}
    assert label(rng.normal(50.0, 5.0, 500).tolist(), "regression").task == {"type": "regression"}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["no", "yes"] * 30, "binary"),
        ([True, False] * 30, "binary"),
        ([1, 2, 3, 4, 5] * 30, "multiclass"),
        (["a", "b", "c"] * 30, "multiclass"),
        (list(range(60)), "regression"),
        ([0.5, 1.5, 2.5] * 30, "regression"),
    ],
)
def test_a_type_that_is_not_given_is_guessed_and_said(values: list[Any], kind: str) -> None:
    made = label(values)
    assert made.type == kind
    assert f"type guessed: {kind} (say --label 'Bought:TYPE' for another)" in made.notes


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, 2, 3] * 30, "binary", "found:   3: 1, 2, 3"),
        (["a", "b", "c"] * 30, "binary", "fix:     say --label 'Bought:multiclass'"),
        ([1, 1, None], "binary", "one value in all rows"),
        ([None, None], None, "holds no value"),
        (list(range(300)), "multiclass", "fix:     say --label 'Bought:regression'"),
        (["a", "b"], "regression", "cannot be a regression label"),
        ([0.5, 0.7], "multiclass", "found:   fractions"),
        ([[1], [2]], None, "cannot be a label"),
        ([True, False], "regression", "fix:     say --label 'Bought:binary'"),
    ],
)
def test_what_is_refused(values: list[Any], kind: LabelType | None, expected: str) -> None:
    with pytest.raises(DataError) as error:
        label(values, kind)
    assert expected in str(error.value)


def test_names_and_types_on_the_command_line() -> None:
    columns = ["click", "a:b", "stars"]
    assert parse_label("click:binary", columns) == ("click", "binary")
    assert parse_label("click", columns) == ("click", None)
    assert parse_label("a:b", columns) == ("a:b", None)
    assert parse_label("a:b:regression", columns) == ("a:b", "regression")
    with pytest.raises(ConfigError, match="did you mean stars:multiclass"):
        parse_label("stars:multclass", columns)
    with pytest.raises(ConfigError, match="did you mean 'click'"):
        parse_label("clik:binary", columns)
    with pytest.raises(ConfigError, match="did you mean 'stars'"):
        parse_label("Stars", columns)
