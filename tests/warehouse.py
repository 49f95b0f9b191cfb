"""An offline store that joins elsewhere and exports its result, as BigQuery, Snowflake, Redshift and Spark do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig
from feast.infra.offline_stores.ibis import IbisRetrievalJob
from feast.infra.offline_stores.offline_store import RetrievalJob

EXPORTS: list[Path] = []
"""Where the warehouse exports to; set by a test."""
LOSES: list[int] = []
"""Rows that the warehouse leaves out of its export; set by a test."""


class WarehouseOfflineStoreConfig(DuckDBOfflineStoreConfig):
    type: str = "tests.warehouse.WarehouseOfflineStore"


class ExportingJob(RetrievalJob):
    """What BigQuery, Snowflake, Redshift and Spark do: several files, rows in no order, no on-demand features."""

    def __init__(self, job: IbisRetrievalJob) -> None:
        self._job = job

    def supports_remote_storage_export(self) -> bool:
        return True

    def to_remote_storage(self) -> list[str]:
        table = self._job._to_arrow_internal()
        order = table["row_id"].to_numpy().argsort()[::-1]
        table = table.take(pa.array(order)).slice(LOSES[-1] if LOSES else 0)
        paths = []
        for number, begin in enumerate(range(0, table.num_rows, 333)):
            path = EXPORTS[-1] / f"{number}.parquet"
            pq.write_table(table.slice(begin, 333), path)
            paths.append(f"file://{path}")
        return paths

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002
        raise AssertionError("the rows must not pass through this process's memory as one table")

    @property
    def on_demand_feature_views(self) -> list[Any]:
        return self._job.on_demand_feature_views

    @property
    def full_feature_names(self) -> bool:
        return False


class WarehouseOfflineStore(DuckDBOfflineStore):
    @staticmethod
    def get_historical_features(*args: Any, **kwargs: Any) -> RetrievalJob:
        return ExportingJob(DuckDBOfflineStore.get_historical_features(*args, **kwargs))
