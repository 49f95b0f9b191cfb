"""The join through `feast.FeatureStore`, one repo an offline store, all of them over one registry."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.point_in_time_join.dataset import Dataset
from tests.benchmarks.point_in_time_join.views import CREATED_TIMESTAMP, EVENT_TIMESTAMP, SERVICE, VIEWS

OURS = "mtl_ray.data.offline_store.PointInTimeOfflineStore"
STORES = {
    "ours": f"type: {OURS}",
    "feast_dask": "type: dask",
    "feast_duckdb": "type: duckdb",
    "feast_ray": "type: ray\n    storage_path: {folder}/ray_storage",
}
"""Side -> the offline_store section of its feature_store.yaml."""

_SETTINGS = """\
project: benchmark
provider: local
registry: {registry}
offline_store:
    {store}
online_store:
    type: sqlite
    path: online.db
entity_key_serialization_version: 3
"""

os.environ.setdefault("FEAST_USAGE", "False")


def repo_folder(dataset: Dataset, side: str, budget: str | None = None) -> Path:
    """The side's repo: a feature_store.yaml that names its offline store and the shared registry."""
    folder = dataset.folder / (side if budget is None else f"{side}_{budget}")
    folder.mkdir(exist_ok=True)
    store = STORES[side].format(folder=folder.resolve())
    if budget is not None:
        store += f"\n    memory_budget: {budget}"
    settings = _SETTINGS.format(registry=dataset.folder.resolve() / "registry.db", store=store)
    (folder / "feature_store.yaml").write_text(settings)
    return folder


def apply_registry(dataset: Dataset) -> None:
    """Write the registry that every repo of `dataset` reads."""
    from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource
    from feast.types import Float64, Int64, String
    from feast.value_type import ValueType

    types = {"int64": Int64, "id": Int64, "float64": Float64, "string": String}
    entities = {
        key: Entity(name=key.removesuffix("_id"), join_keys=[key], value_type=ValueType.INT64)
        for key in ("user_id", "item_id")
    }
    views: list[Any] = [
        FeatureView(
            name=view.name,
            entities=[entities[key] for key in view.keys],
            ttl=view.ttl,
            schema=[Field(name=name, dtype=types[kind]) for name, kind in view.features.items()],
            source=FileSource(
                name=f"{view.name}_source",
                path=str(dataset.source(view).resolve()),
                timestamp_field=EVENT_TIMESTAMP,
                created_timestamp_column=CREATED_TIMESTAMP,
            ),
            online=False,
        )
        for view in VIEWS
    ]
    store = FeatureStore(repo_path=str(repo_folder(dataset, "feast_dask")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        store.apply([*entities.values(), *views, FeatureService(name=SERVICE, features=views)])


def feast_join(dataset: Dataset, side: str) -> pa.Table:
    """Open the store and join. Ours takes the spine's path; Feast's own want it read into pandas first."""
    entity_frame = str(dataset.spine) if side == "ours" else pq.read_table(dataset.spine).to_pandas()
    return _retrieval(repo_folder(dataset, side), entity_frame).to_arrow()


def join_to_parquet(dataset: Dataset, budget: str, out: Path) -> Path:
    """Ours from Parquet to Parquet within a memory budget."""
    _retrieval(repo_folder(dataset, "ours", budget), str(dataset.spine)).to_parquet(str(out))
    return out


def _retrieval(repo: Path, entity_frame: Any) -> Any:
    from feast import FeatureStore

    store = FeatureStore(repo_path=str(repo))
    service = store.get_feature_service(SERVICE)
    return store.get_historical_features(entity_df=entity_frame, features=service)
