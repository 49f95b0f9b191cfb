"""The point-in-time join of a feature service: every spine row in, every spine row out, bucket by bucket.

With this package's offline store the join runs here, from the feature tables themselves. Any other store of Feast runs
its own; its result is fetched as Parquet (exported to remote storage, where the store can do that) and put back to the
spine's rows by `row_id`, and a store that lost or added a row is found out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mtl_ray.data.join.fragments import atomic_file
from mtl_ray.data.join.parquet_rows import Rows
from mtl_ray.data.join.plan import JoinPlan
from mtl_ray.data.join.progress import Say
from mtl_ray.data.join.run import new_join, shuffle
from mtl_ray.data.join.stages import Join, forget_views, join_bucket
from mtl_ray.data.join.views import JoinView
from mtl_ray.data.on_demand import OnDemandFeatures, requested
from mtl_ray.data.service_spec import FeatureSpec, ServiceSpec
from mtl_ray.data.spine import EVENT_TIMESTAMP, ROW_ID, TIMESTAMP_TYPE
from mtl_ray.data.task_runner import RunsOn
from mtl_ray.errors import DataError, FeatureStoreError

FEATURE_TIMESTAMP = "__feature_timestamp"
"""`<view>__feature_timestamp`: event time of the feature row that an example saw."""

_RETURNED = "__returned"

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
    "Array(Float32)": pa.list_(pa.float32()),
    "Array(Float64)": pa.list_(pa.float64()),
    "Array(UnixTimestamp)": pa.list_(TIMESTAMP_TYPE),
}


KeptPlan = Callable[[int], JoinPlan | None]
"""Budget -> the plan of an unfinished join that can go on within it."""


@dataclass(frozen=True)
class FeatureJoin:
    """A planned join of a service to a spine; picklable."""

    join: Join
    on_demand: OnDemandFeatures | None
    """On-demand features to compute here; None where the store has done it."""
    features: tuple[FeatureSpec, ...]
    """What is returned, in order."""
    budget: int
    """Bytes that the join was planned for."""
    sent: tuple[str, ...] | None = None
    """Where another store joined: columns that had to be there for a row to be sent to it."""

    @property
    def buckets(self) -> int:
        """Number of buckets."""
        return self.join.plan.buckets

    def prepare(self, runs_on: RunsOn, say: Say) -> None:
        """Do what must be on disk before a bucket can be joined; finished pieces are not done again."""
        shuffle(self.join, runs_on, say)

    def bucket(self, index: int) -> pa.Table:
        """The bucket's spine rows in order with the service's features in their declared types.

        Behind them `<view>__feature_timestamp` (timestamp[us, UTC], null where nothing matched) for each view, where
        this package's store joined it at the spine's times. Raises `FeatureStoreError` where another store did not
        return a row.
        """
        table = join_bucket(self.join, index)
        if self.sent is not None:
            self._check_returned(table)
        if self.on_demand is not None:
            table = self.on_demand(table)
        # The contract stops on a feature row from the future, which is what a latest-value view is asked for.
        timed = [view for view in self.join.views if not view.latest]
        times = [view.feature_timestamp for view in timed if view.feature_timestamp not in (None, _RETURNED)]
        names = [*self.join.spine_columns, *(feature.name for feature in self.features), *times]
        result = table.select(names)
        for feature in self.features:
            position = result.column_names.index(feature.name)
            result = result.set_column(position, feature.name, _as_declared(result[feature.name], feature.dtype))
        return result.replace_schema_metadata()

    def _check_returned(self, table: pa.Table) -> None:
        assert self.sent is not None
        lost = pc.is_null(table[_RETURNED])
        for name in self.sent:
            lost = pc.and_(lost, pc.is_valid(table[name]))
        if pc.any(lost).as_py():
            ids = table[ROW_ID].filter(lost)
            raise _other_rows(f"row ids that are missing, such as {ids[0].as_py()}")


def plan_feature_join(
    store: Any,
    service: Any,
    spec: ServiceSpec,
    spine: Rows,
    spine_columns: Sequence[str],
    *,
    budget: int,
    folder: Path,
    most_bucket_rows: int | None,
    identity: str,
    kept_plan: KeptPlan | None,
    latest_views: Sequence[str] = (),
) -> FeatureJoin:
    """Plan the join of `service` to `spine`, whose columns are `spine_columns`, `row_id` among them.

    `latest_views` (none, where another store joins) are joined by their keys alone, see `JoinView.latest`.

    Where `store` does not use this package's offline store, its join runs now. Raises `FeatureStoreError` or
    `DataError` for what cannot be joined, and `ConfigError` for a budget that is too small.
    """
    check_spine_types(spine.schema, spec)
    kept = None if kept_plan is None else kept_plan(budget)
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"budget": budget, "folder": folder, "most_bucket_rows": most_bucket_rows}
    options |= {"spine_columns": spine_columns, "identity": identity, "plan": kept}
    planned = _planned_here(store, service, spine)
    assert planned is not None or not latest_views
    if planned is not None:
        views, on_demand = planned
        views = [replace(view, latest=view.name in latest_views) for view in views]
        return FeatureJoin(new_join(spine, views, EVENT_TIMESTAMP, **options), on_demand, spec.retrieved, budget)
    view, missing_on_demand = _joined_by_store(store, service, spec, spine, folder)
    join = new_join(spine, [view], EVENT_TIMESTAMP, **options)
    return FeatureJoin(join, missing_on_demand, spec.retrieved, budget, (*spec.join_keys, EVENT_TIMESTAMP))


def joined_in_memory(join: FeatureJoin, say: Say) -> Iterator[pa.Table]:
    """All buckets, in this process."""
    join.prepare("local", say)
    try:
        for index in range(join.buckets):
            yield join.bucket(index)
    finally:
        forget_views()


def check_spine_types(schema: pa.Schema, spec: ServiceSpec) -> None:
    """Raise `DataError` where the spine lacks a column that the service needs, or has it in another type."""
    for key, dtype in spec.join_keys.items():
        wanted = pa.string() if dtype == "String" else pa.int64()
        if schema.field(key).type != wanted:
            raise DataError(
                f"The join key {key!r} of the spine does not fit the feature repo.",
                where=f"spine column {key}",
                found=f"type {schema.field(key).type}",
                allowed=f"{wanted}: the entity's value type is {dtype}",
                fix="cast the column in the spine, or correct the entity and run `feast apply`",
            )
    for name in spec.request_columns:
        if name not in schema.names:
            raise DataError(
                f"The spine has no column {name!r}, which an on-demand view reads from the request.",
                where=f"feature service {spec.service}",
                found=f"columns {', '.join(schema.names)}",
                fix="add the column to the spine",
            )


def _planned_here(store: Any, service: Any, spine: Rows) -> tuple[list[JoinView], OnDemandFeatures] | None:
    from feast.infra.offline_stores.offline_utils import get_offline_store_from_config

    from mtl_ray.data.offline_store import PointInTimeOfflineStore
    from mtl_ray.data.retrieval import HistoricalJob

    if not isinstance(get_offline_store_from_config(store.config.offline_store), PointInTimeOfflineStore):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        job = store.get_historical_features(entity_df=spine.schema.empty_table(), features=service)
    assert isinstance(job, HistoricalJob)
    return [replace(view, feature_timestamp=view.name + FEATURE_TIMESTAMP) for view in job.views], job.on_demand


def _joined_by_store(
    store: Any, service: Any, spec: ServiceSpec, spine: Rows, folder: Path
) -> tuple[JoinView, OnDemandFeatures | None]:
    """The store's result as a view of one row a spine row, and the on-demand features that are not in it.

    Feast takes its entity frame as pandas, where an integer column with nulls becomes float64 and loses ids above
    2^53. So only what the join needs goes in (keys and times without nulls, `row_id`, request columns).
    """
    frame = _entity_frame(spine, spec)
    kept = folder / "from_store.parquet"
    features = [feature.name for feature in spec.retrieved]
    on_demand = None
    try:
        with warnings.catch_warnings(), _own_duckdb():
            warnings.simplefilter("ignore")
            job = store.get_historical_features(entity_df=frame, features=service)
            if job.supports_remote_storage_export():
                path: str | tuple[str, ...] = tuple(map(str, job.to_remote_storage()))
                refs = [f"{feature.view}:{feature.name}" for feature in spec.retrieved]
                on_demand = requested(job.on_demand_feature_views, refs, False)
                computed = {feature.name for feature in spec.retrieved if feature.source == "on_demand"}
                features = [name for name in features if name not in computed]
            else:
                path = str(kept)
                if not kept.exists():
                    with atomic_file(kept) as aside:
                        pq.write_table(job.to_arrow(), aside, compression="lz4")
    except (FeatureStoreError, DataError):
        raise
    except Exception as error:  # whatever the store's database, ibis or the code of an on-demand view raises
        raise FeatureStoreError(
            "The point-in-time join failed.",
            where=f"feature service {spec.service}, offline store {store.config.offline_store.type}",
            found=f"{type(error).__name__}: {error}",
            fix="if an on-demand view is named: its function may use only its argument, np and pd, "
            "because Feast rebuilds it from its source text",
        ) from error
    names = [*features, *(_inputs(on_demand, path) if on_demand is not None else [])]
    view = JoinView(
        name=f"{store.config.offline_store.type}",
        path=path,
        keys=((ROW_ID, ROW_ID),),
        timestamp_field=EVENT_TIMESTAMP,
        created=None,
        ttl=None,
        columns=tuple((name, name) for name in dict.fromkeys(names) if name not in spine.schema.names),
        feature_timestamp=_RETURNED,
    )
    if view.rows.num_rows != len(frame):
        raise _other_rows(f"{view.rows.num_rows} rows for {len(frame)}")
    return view, on_demand


def _inputs(on_demand: OnDemandFeatures, path: str | tuple[str, ...]) -> list[str]:
    """Everything that the store returned: on-demand functions may read any of it."""
    from mtl_ray.data.join.parquet_rows import ParquetRows

    known = ParquetRows.of(path).schema.names if on_demand.views else []
    return [name for name in known if name not in (ROW_ID, EVENT_TIMESTAMP)]


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


def _entity_frame(spine: Rows, spec: ServiceSpec) -> pd.DataFrame:
    """Keys, times, `row_id` and request columns of the rows that have keys and time."""
    needed = [*spec.join_keys, EVENT_TIMESTAMP]
    names = tuple(dict.fromkeys([*needed, ROW_ID, *spec.request_columns]))
    table = spine.read(0, spine.num_rows, names)
    valid = pa.chunked_array([pa.array(np.ones(table.num_rows, dtype=bool))])
    for name in needed:
        valid = pc.and_(valid, pc.is_valid(table[name]))
    table = table.filter(valid)
    columns: dict[str, pd.Series] = {}
    for name in names:
        values = table[name].cast(TIMESTAMP_TYPE) if name == EVENT_TIMESTAMP else table[name]
        integer = pa.types.is_integer(values.type) and values.null_count > 0
        mapper: Callable[..., Any] | None = {values.type: pd.Int64Dtype()}.get if integer else None
        columns[name] = values.to_pandas(types_mapper=mapper)
    return pd.DataFrame(columns)


def _other_rows(found: str) -> FeatureStoreError:
    return FeatureStoreError(
        "The offline store returned other rows than the spine has.",
        where="point-in-time join",
        found=found,
        allowed="each spine row exactly once",
        fix="write `offline_store: {type: mtl_ray.data.offline_store.PointInTimeOfflineStore}` in feature_store.yaml",
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
