"""The file of the rows that broke a hard rule."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mtl_ray.data.contract.row_rules import RowVerdict

REASON = "reason"


def quarantined_rows(table: pa.Table, verdict: RowVerdict) -> pa.Table:
    """The rows of `table` that do not go on, raw as they were joined, with their reasons in the last column.

    The column is called `reason`, or `contract_reason` where the spine has a column of that name.
    """
    gone = pa.array(~verdict.ok)
    name = REASON if REASON not in table.column_names else f"contract_{REASON}"
    return table.filter(gone).append_column(pa.field(name, pa.string()), pc.filter(verdict.reason, gone))


def write_quarantine(path: Path, table: pa.Table, verdict: RowVerdict) -> int:
    """Write `quarantined_rows` to the Parquet file `path`, whole or not at all; returns their number.

    Without such rows there is no file. Raises `OSError` where the disk does not take it.
    """
    if not verdict.broken:
        path.unlink(missing_ok=True)
        return 0
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pq.write_table(quarantined_rows(table, verdict), aside, compression="zstd")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return verdict.broken
