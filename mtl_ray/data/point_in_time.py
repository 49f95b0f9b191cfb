"""The point-in-time join through Feast: every spine row in, every spine row out, in Arrow."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.data.service_spec import ServiceSpec
from mtl_ray.data.spine import EVENT_TIMESTAMP, ROW_ID, TIMESTAMP_TYPE
from mtl_ray.errors import DataError, FeatureStoreError

_ARROW_TYPES: dict[str, pa.DataType] = {
    "String": pa.string(),
    "Bool": pa.bool_(),
    "Int32": pa.int32(),
    "Int64": pa.int64(),
    "Float32": pa.float32(),
    "Float64": pa.float64(),
    "Array(Int32)": pa.list_(pa.int32()),
    "Array(Int64)": pa.list_(pa.int64()),
    "Array(String)": pa.list_(pa.string()),
}


def historical_features(store: Any, service: Any, spec: ServiceSpec, spine: pa.Table) -> pa.Table:
    """`row_id` and the retrieved features of `spec` for each row of `spine`, sorted by `row_id`.

    Feast takes its entity frame as pandas, where an integer column with nulls becomes float64 and loses ids above
    2^53. So only what the join needs goes in (keys and times without nulls, `row_id`, request columns), and only
    `row_id` and features come out, as Arrow; the caller joins the rest of the spine back by `row_id`.
    """
    if ROW_ID not in spine.column_names:
        spine = spine.append_column(ROW_ID, pa.array(np.arange(spine.num_rows, dtype=np.int64)))
    row_ids = np.asarray(spine[ROW_ID])
    if not spec.retrieved:
        return pa.table({ROW_ID: np.sort(row_ids)})
    frame = _entity_frame(spine, spec)
    try:
        with warnings.catch_warnings(), _own_duckdb():
            warnings.simplefilter("ignore", DeprecationWarning)
            result = store.get_historical_features(entity_df=frame, features=service).to_arrow()
    except Exception as error:  # whatever DuckDB, ibis or the code of an on-demand view raises
        raise FeatureStoreError(
            "The point-in-time join failed.",
            where=f"feature service {spec.service}",
            found=f"{type(error).__name__}: {error}",
            fix="if an on-demand view is named: its function may use only its argument, np and pd, "
            "because Feast rebuilds it from its source text",
        ) from error
    _check_rows(row_ids, result, spec)
    result = result.select([ROW_ID, *(feature.name for feature in spec.retrieved)])
    result = result.take(pc.sort_indices(result[ROW_ID]))
    for position, feature in enumerate(spec.retrieved, start=1):
        result = result.set_column(position, feature.name, _as_declared(result[feature.name], feature.dtype))
    return result.replace_schema_metadata()


@contextmanager
def _own_duckdb() -> Iterator[None]:
    """Close the DuckDB that Feast's duckdb store opens through ibis.

    It would keep its memory until the process ends, and end it with pages of nanobind's leak warnings. A backend that
    the caller had set in ibis stays.
    """
    import ibis

    before = ibis.options.default_backend
    try:
        yield
    finally:
        opened = ibis.options.default_backend
        if before is None and opened is not None:
            ibis.options.default_backend = None
            opened.disconnect()


def _entity_frame(spine: pa.Table, spec: ServiceSpec) -> pd.DataFrame:
    columns: dict[str, pd.Series] = {}
    for key, dtype in spec.join_keys.items():
        values = spine[key]
        wanted = pa.string() if dtype == "String" else pa.int64()
        if values.null_count or values.type != wanted:
            raise DataError(
                f"The join key {key!r} of the spine does not fit the feature repo.",
                where=f"spine column {key}",
                found=f"type {values.type}, {values.null_count} nulls",
                allowed=f"{wanted} without nulls: the entity's value type is {dtype}",
                fix="cast the column in the spine, or correct the entity and run `feast apply`",
            )
        columns[key] = values.to_pandas()
    columns[EVENT_TIMESTAMP] = spine[EVENT_TIMESTAMP].cast(TIMESTAMP_TYPE).to_pandas()
    columns[ROW_ID] = spine[ROW_ID].to_pandas()
    for name in spec.request_columns:
        if name not in spine.column_names:
            raise DataError(
                f"The spine has no column {name!r}, which an on-demand view reads from the request.",
                where=f"feature service {spec.service}",
                found=f"columns {', '.join(spine.column_names)}",
                fix="add the column to the spine",
            )
        values = spine[name]
        integer = pa.types.is_integer(values.type) and values.null_count > 0
        columns[name] = values.to_pandas(types_mapper={values.type: pd.Int64Dtype()}.get if integer else None)
    return pd.DataFrame(columns)


def _check_rows(row_ids: np.ndarray, result: pa.Table, spec: ServiceSpec) -> None:
    returned = np.asarray(result[ROW_ID])
    if returned.size != row_ids.size or not np.array_equal(np.sort(returned), np.sort(row_ids)):
        lost = np.setdiff1d(row_ids, returned)
        raise FeatureStoreError(
            "The offline store returned other rows than the spine has.",
            where=f"point-in-time join of feature service {spec.service}",
            found=f"{returned.size} rows for {row_ids.size}; {lost.size} row ids are missing"
            + (f", such as {lost[0]}" if lost.size else ""),
            allowed="each spine row exactly once",
            fix="write `offline_store: {type: duckdb}` in feature_store.yaml",
        )


def _as_declared(values: pa.ChunkedArray, dtype: str | None) -> pa.ChunkedArray:
    """`values` in the type that the field declares, where that loses nothing.

    An on-demand view runs in pandas, where whole numbers with gaps are floats and gaps are NaN. A source whose type
    differs from the declared one in a way that would lose something stays as it is.
    """
    wanted = _ARROW_TYPES.get(dtype or "")
    if wanted is None or values.type == wanted:
        return values
    if pa.types.is_floating(values.type) and (pa.types.is_integer(wanted) or pa.types.is_boolean(wanted)):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    try:
        return values.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return values
