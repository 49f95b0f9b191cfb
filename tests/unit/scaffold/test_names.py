"""Names that Feast, DuckDB and a training set can all carry."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_ray.scaffold.names import RESERVED, safe_name, safe_names


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("orderValue", "order_value"),
        ("home.dest", "home_dest"),
        ("Größe (cm)", "groe_cm"),
        ("2nd", "c_2nd"),
        ("pos_y", "pos_y_value"),
        ("__a__b__", "a_b"),
        ("row_id", "row_id_value"),
        ("list_of", "list_of_value"),
        ("", "column"),
        ("URL", "url"),
    ],
)
def test_examples(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(st.lists(st.text(max_size=12), unique=True, max_size=8))
def test_any_names_become_safe_and_stay_different(names: list[str]) -> None:
    safe = safe_names(names, set())
    assert list(safe) == names
    assert len(set(safe.values())) == len(names)
    for value in safe.values():
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", value)
        assert not value.endswith("_y")
        assert value not in RESERVED


def test_names_that_differ_in_case_alone() -> None:
    assert safe_names(["Age", "age", "AGE"], {"age"}) == {"Age": "age_2", "age": "age_3", "AGE": "age_4"}
