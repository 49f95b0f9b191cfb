"""How a column is encoded, and what is pointed out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mtl_ray.scaffold.columns import Column, describe
from mtl_ray.scaffold.values import read_values

ROWS = 400
RNG = np.random.default_rng(0)


def column(values: Any, name: str = "x", keep: bool = False) -> Column:
    return describe(name, name, read_values(pa.array(values)), keep)


@pytest.mark.parametrize(
    ("name", "values", "encoding", "dtype"),
    [
        ("city", ["Rome", "Oslo", None, "Rome"] * 100, "categorical", "String"),
        ("flag", [True, False] * 200, "categorical", "Bool"),
        ("doors", [2, 3, 4, 5] * 100, "categorical", "Int64"),
        ("visits", list(range(40)) * 10, "numeric", "Int64"),
        ("doors", [2.0, 3.0, None, 5.0] * 100, "categorical", "Int64"),
        ("shop_id", [100_000 + i for i in range(40)] * 10, "categorical", "Int64"),
        ("income", RNG.integers(0, 10**6, ROWS), "numeric", "Int64"),
        ("height", RNG.normal(size=ROWS), "numeric", "Float64"),
        ("recent", [[1, 2], []] * 200, "list", "Array(Int64)"),
        ("tags", [["a"], None] * 200, "list", "Array(String)"),
        ("ticket", [f"t{i % 300}" for i in range(ROWS)], "categorical", "String"),
        ("cabin", [None, "B5"] * 200, "categorical", "String"),
    ],
)
def test_inputs(name: str, values: Any, encoding: str, dtype: str) -> None:
    made = column(values, name)
    assert (made.encoding, made.dtype, made.used, made.warning) == (encoding, dtype, True, None)


@pytest.mark.parametrize(
    ("name", "values", "warning", "reason"),
    [
        ("passenger_id", RNG.permutation(10**6)[:ROWS], "identifier", "400 different values in 400 rows"),
        ("row", range(ROWS), "identifier", "400 different"),
        ("uuid", [f"a{i}b" for i in range(ROWS)], "identifier", "400 different"),
        ("title", [f"Mr. Number {i} of the house" for i in range(ROWS)], "free text", "400 different texts"),
        ("note", ["a long story about " * 5 + str(i // 2) for i in range(ROWS)], "free text", "200 different texts"),
        ("same", ["a"] * ROWS, "constant", "every row has 'a'"),
        ("nothing", [None] * ROWS, "constant", "it holds no value"),
        ("vector", [[0.5, 0.25]] * ROWS, "unsupported", "is no feature"),
    ],
)
def test_left_out(name: str, values: Any, warning: str, reason: str) -> None:
    made = column(values, name)
    assert (made.warning, made.used) == (warning, False)
    assert reason in made.reason
    assert column(values, name, keep=True).used == (made.encoding is not None)


def test_hardly_ever_present_is_used_and_pointed_out() -> None:
    made = column([1.5, 2.5] + [None] * 98)
    assert (made.warning, made.used, made.reason) == ("missing", True, "98.0% of the rows have no value")
