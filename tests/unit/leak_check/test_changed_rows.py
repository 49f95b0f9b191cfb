"""What counts as a changed value, in every type that a feature table may have."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from mtl_ray.data.join.views import JoinView
from mtl_ray.leak_check.values import _changed_rows

TYPES: dict[str, tuple[pa.DataType, Any, Any]] = {
    "int64 above 2^53": (pa.int64(), 2**53, 2**53 + 1),
    "float": (pa.float64(), 1.0, 1.0 + 2**-52),
    "NaN": (pa.float32(), math.nan, 0.0),
    "text": (pa.string(), "a", "A"),
    "truth": (pa.bool_(), False, True),
    "list": (pa.list_(pa.int64()), [1, None, 2], [1, 2, None]),
    "list of text": (pa.list_(pa.string()), [], ["a"]),
    "embedding": (pa.list_(pa.float32(), 2), [0.0, 1.0], [1.0, 0.0]),
    "time": (pa.timestamp("us", "UTC"), 0, 1),
    "decimal": (pa.decimal128(10, 2), Decimal("1.00"), Decimal("1.01")),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), "a", "b"),
    "struct": (pa.struct([("x", pa.int64())]), {"x": 1}, {"x": None}),
}


@pytest.mark.parametrize("name", TYPES)
def test_only_other_values_are_changes(name: str) -> None:
    kind, one, other = TYPES[name]

    def table(values: list[Any]) -> pa.Table:
        same = pa.array([7] * len(values))
        if pa.types.is_dictionary(kind):
            return pa.table({"a": pa.array(values).dictionary_encode().cast(kind), "b": same})
        return pa.table({"a": pa.array(values, kind), "b": same})

    before = table([one, one, None, None, other])
    after = table([one, other, one, None, other])
    view = JoinView("view", "none.parquet", (), "at", None, None, (("source", "a"), ("other", "b")))
    assert _changed_rows(view, before, after) == 2
    assert _changed_rows(view, before, before) == 0
