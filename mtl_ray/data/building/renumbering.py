"""Shards whose values have other ids since some lost theirs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mtl_ray.data.building.shards import COMPRESSION
from mtl_ray.data.fitted_preprocessing import LIST_PREFIX, Preprocessing
from mtl_ray.data.join.fragments import atomic_file
from mtl_ray.data.manifest import ROW_GROUP_ROWS, FileRecord
from mtl_ray.data.packing import packed, unpacked
from mtl_ray.storage import sha256


def renumbered_ids(before: Preprocessing, now: Preprocessing) -> dict[str, np.ndarray]:
    """Vocabulary -> for each id of before the one of now, int32 `[size before]`; those alone that some value has lost
    or changed its id in."""
    found = {}
    for name, vocabulary in before.vocabularies.items():
        grown = now.vocabularies[name]
        if grown.values[: len(vocabulary.values)] != vocabulary.values:
            found[name] = vocabulary.ids_by(grown, name)
    return found


def renumber(file: Path, record: FileRecord, ids: Mapping[str, np.ndarray], preprocessing: Preprocessing) -> FileRecord:
    """Write `file` anew with other ids, beside what other training sets link to; returns its record."""
    source = pq.ParquetFile(file)
    with (
        atomic_file(file) as aside,
        pq.ParquetWriter(
            aside, source.schema_arrow, compression=COMPRESSION, use_dictionary=False, write_statistics=False
        ) as writer,
    ):
        for group in range(source.num_row_groups):
            rows = _with_ids(source.read_row_group(group), ids, preprocessing)
            writer.write_table(rows.cast(source.schema_arrow), row_group_size=ROW_GROUP_ROWS)
    return record.model_copy(update={"bytes": file.stat().st_size, "sha256": sha256(file)})


def _with_ids(rows: pa.Table, ids: Mapping[str, np.ndarray], preprocessing: Preprocessing) -> pa.Table:
    if preprocessing.categorical:
        matrix = unpacked(rows["categorical"]).copy()
        for position, feature in enumerate(preprocessing.categorical):
            if feature.vocabulary in ids:
                matrix[:, position] = ids[feature.vocabulary][matrix[:, position]]
        rows = _replaced(rows, "categorical", matrix)
    for item in preprocessing.lists:
        if item.vocabulary in ids:
            name = LIST_PREFIX + item.name
            rows = _replaced(rows, name, ids[item.vocabulary][unpacked(rows[name])])
    return rows


def _replaced(rows: pa.Table, name: str, matrix: np.ndarray) -> pa.Table:
    at = rows.schema.get_field_index(name)
    return rows.set_column(at, rows.schema.field(at), packed(matrix))
