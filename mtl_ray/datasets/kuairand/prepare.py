"""From the raw files of KuaiRand-Pure to a data set on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.datasets.kuairand.aggregates import KEYS, create_daily, create_outcomes
from mtl_ray.datasets.kuairand.interactions import create_user_item, create_user_tabs
from mtl_ray.datasets.kuairand.options import parse_options
from mtl_ray.datasets.kuairand.raw import load_raw
from mtl_ray.datasets.kuairand.raw_files import find_raw_files
from mtl_ray.datasets.kuairand.sequences import create_recent_items
from mtl_ray.datasets.kuairand.tables import LABELS, feature_tables, spine
from mtl_ray.datasets.tables import staged, write_summary, write_table
from mtl_ray.errors import DataError


def prepare_kuairand(out: Path, raw: Path | None = None, **options: Any) -> dict[str, Any]:
    """Writes feature tables, spine and `dataset.json` of the raw files in `raw` to `out` and returns the summary.

    `options` are the fields of `KuaiRandOptions`. The same raw files and options give byte-identical files.
    DataError names raw files, columns or values that are absent or cannot be used, ConfigError an option,
    StorageError a path that cannot be written.
    """
    parsed = parse_options(options)
    files = find_raw_files(raw, parsed.random_log)
    with duckdb.connect() as connection, staged(out) as folder:
        load_raw(connection, files)
        create_outcomes(connection)
        for name in KEYS:
            create_daily(connection, name)
        create_user_tabs(connection)
        create_user_item(connection)
        create_recent_items(connection)
        rows = spine(connection, parsed.spine_from)
        if rows.num_rows == 0:
            raise DataError("No impression is left for the spine", where="spine_from", found=str(parsed.spine_from))
        tables = feature_tables(connection)
        for name, table in tables.items():
            write_table(table, folder / "features" / f"{name}.parquet")
        write_table(rows, folder / "spine" / "part-0.parquet")
        summary = {
            "dataset": "kuairand",
            "layout": files.layout,
            "parameters": parsed.model_dump(mode="json"),
            **_summarise(rows),
            "feature_rows": {name: table.num_rows for name, table in tables.items()},
        }
        write_summary(summary, folder)
    return summary


def _summarise(rows: pa.Table) -> dict[str, Any]:
    times = rows["event_timestamp"]
    return {
        "rows": rows.num_rows,
        "users": pc.count_distinct(rows["user_id"]).as_py(),
        "items": pc.count_distinct(rows["item_id"]).as_py(),
        "first": times[0].as_py().isoformat(),
        "last": times[-1].as_py().isoformat(),
        "label_means": {label: round(pc.mean(rows[label]).as_py(), 6) for label in LABELS},
    }
