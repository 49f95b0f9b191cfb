"""A Feast offline store whose point-in-time join loses no row and stays within a memory budget.

In `feature_store.yaml`:

    offline_store:
        type: mtl_ray.data.offline_store.PointInTimeOfflineStore
        memory_budget: 4GB       # optional
        work_folder: /mnt/shared # optional; on a cluster a folder that all nodes see

`store.get_historical_features`, `feast apply`, `feast materialize` and the rest of Feast work with it as with its own
stores. Sources are Parquet files (`FileSource`). Beyond Feast's own stores, `entity_df` may be an Arrow table, a path
or a Ray Dataset, and the job can write Parquet or give a Ray Dataset whose blocks are joined by Ray's workers.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from feast.infra.offline_stores.duckdb import DuckDBOfflineStore
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel
from feast.utils import _parse_feature_ref
from pydantic import ByteSize

from mtl_ray.data.feast_views import join_view, source_path
from mtl_ray.data.on_demand import requested
from mtl_ray.data.retrieval import HistoricalJob
from mtl_ray.data.source_job import SourceJob
from mtl_ray.data.work_settings import WorkSettings
from mtl_ray.errors import FeatureStoreError


class PointInTimeOfflineStoreConfig(FeastConfigBaseModel):
    """The `offline_store` section of feature_store.yaml."""

    type: Literal["mtl_ray.data.offline_store.PointInTimeOfflineStore"] = (
        "mtl_ray.data.offline_store.PointInTimeOfflineStore"
    )
    memory_budget: ByteSize | None = None
    """Memory that a join may take in one process, such as 4GB; None: half of what is free when it starts (on Ray: of
    that, each task's share)."""
    work_folder: str | None = None
    """Where rows go that do not fit into the budget; removed after the join. None: the system's temporary folder.
    On a cluster all nodes must see it."""
    runs_on: Literal["auto", "local", "ray"] = "auto"
    """Where partitions are joined when Parquet or a Ray Dataset is asked for; auto: on Ray if this process is
    connected to one."""
    progress: bool | None = None
    """Whether to tell on stderr how far a long join is; None: if it is a terminal."""


class PointInTimeOfflineStore(DuckDBOfflineStore):
    """The store. Writing to sources, logging and monitoring are those of Feast's duckdb store."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: Any,
        feature_views: list[Any],
        feature_refs: list[str],
        entity_df: Any,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        **kwargs: Any,
    ) -> RetrievalJob:
        """A job that joins `feature_refs` to `entity_df` (pandas, Arrow, Parquet path or Ray Dataset).

        Raises `FeatureStoreError` or `DataError` for a view or an entity frame that cannot be joined.
        """
        if entity_df is None:
            raise FeatureStoreError(
                "This offline store joins features to given rows, not to a range of dates.",
                where="get_historical_features",
                found=f"no entity_df; {', '.join(kwargs) or 'no dates'}",
                allowed="entity_df: a pandas DataFrame, an Arrow table, a Parquet path or a Ray Dataset",
            )
        parsed = [_parse_feature_ref(ref) for ref in feature_refs]
        views = []
        for view in feature_views:
            name = view.projection.name_to_use()
            chosen = dict.fromkeys(
                feature
                for owner, version, feature in parsed
                if name == (owner if version is None else f"{owner}@v{version}")
            )
            views.append(
                join_view(
                    view,
                    tuple(chosen),
                    config.repo_path,
                    full_feature_names=full_feature_names,
                    known_only=bool(kwargs.get("filter_by_created_timestamp")),
                )
            )
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        return HistoricalJob(
            entity_df,
            views,
            requested(on_demand, feature_refs, full_feature_names),
            feature_refs,
            full_feature_names,
            _settings(config),
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: Any,
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The newest row of each key in [start_date, end_date]; what `feast materialize` writes online."""
        return SourceJob(
            source_path(_SourceOnly(data_source), config.repo_path),
            tuple(join_key_columns),
            tuple(feature_name_columns),
            timestamp_field,
            created_timestamp_column or None,
            (start_date, end_date),
            latest=True,
        )

    @staticmethod
    def pull_all_from_table_or_query(
        config: Any,
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """All rows in [start_date, end_date]."""
        return SourceJob(
            source_path(_SourceOnly(data_source), config.repo_path),
            tuple(join_key_columns),
            tuple(feature_name_columns),
            timestamp_field,
            created_timestamp_column or None,
            (start_date, end_date),
            latest=False,
        )


class _SourceOnly:
    """A source where a view is asked for."""

    def __init__(self, source: Any) -> None:
        self.batch_source = source
        self.name = source.name


def _settings(config: Any) -> WorkSettings:
    store = config.offline_store
    return WorkSettings(
        memory_budget=None if store.memory_budget is None else int(store.memory_budget),
        work_folder=None if store.work_folder is None else Path(store.work_folder),
        runs_on=store.runs_on,
        progress=store.progress,
        repo_path=None if config.repo_path is None else Path(config.repo_path),
    )


__all__ = ["PointInTimeOfflineStore", "PointInTimeOfflineStoreConfig"]
