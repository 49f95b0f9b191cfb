"""Feature values at given positions, null at -1, in the types of the source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from mtl_ray.data.join.asof import Positions
from mtl_ray.data.join.views import frame


class Gatherer:
    """The feature columns of a view (or of a part of it), ready to be taken from.

    Polars takes numbers, truth values, times and text, several columns at a time; whatever else Arrow can hold (lists,
    structs, decimals, dictionaries) Arrow takes itself, so that no type is changed on the way.
    """

    def __init__(self, table: pa.Table, columns: Sequence[tuple[str, str]]) -> None:
        """`table`: the source's rows; `columns`: (column of the source, name in the result)."""
        self._columns = tuple(columns)
        self._schema = pa.schema([pa.field(name, table.schema.field(source).type) for source, name in columns])
        flat = {name: source for source, name in columns if _is_flat(table.schema.field(source).type)}
        self._flat = frame(table.select(list(dict.fromkeys(flat.values()))))
        self._flat_names = flat
        self._nested = {name: _takeable(table[source]) for source, name in columns if name not in flat}

    def take(self, positions: Positions) -> pa.Table:
        """Rows at `positions`, int64 `[rows]`, -1 for a row of nulls."""
        missing = positions < 0
        arrays: dict[str, pa.ChunkedArray | pa.Array] = {}
        if self._flat_names and missing.all():
            arrays |= {name: pa.nulls(len(positions), self._schema.field(name).type) for name in self._flat_names}
        elif self._flat_names:
            index = pl.Series(np.where(missing, 0, positions).astype(np.uint32))
            if missing.any():
                index = index.set(pl.Series(missing), None)
            taken = self._flat.select(
                pl.col(source).gather(index).alias(name) for name, source in self._flat_names.items()
            )
            table = taken.to_arrow(compat_level=pl.CompatLevel.oldest())
            arrays |= {name: table[name] for name in self._flat_names}
        if self._nested:
            indices = pa.array(positions, mask=missing)
            arrays |= {name: values.take(indices) for name, values in self._nested.items()}
        columns = [_as_type(arrays[field.name], field.type) for field in self._schema]
        return pa.table(columns, schema=self._schema)


def _takeable(values: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if pa.types.is_binary_view(values.type):
        values = values.cast(pa.large_binary())
    return values.combine_chunks()


def _is_flat(kind: pa.DataType) -> bool:
    types = pa.types
    if types.is_float16(kind):
        return False
    if types.is_timestamp(kind):
        return str(kind.unit) != "s"
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_date32(kind)
    )


def _as_type(values: pa.ChunkedArray | pa.Array, kind: pa.DataType) -> pa.ChunkedArray | pa.Array:
    return values if values.type == kind else values.cast(kind)
