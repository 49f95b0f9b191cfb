"""Preparing a bucket: joined, checked, split, sampled, counted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mtl_ray.data.building.build import Build
from mtl_ray.data.contract.quarantine import write_quarantine
from mtl_ray.data.contract.row_rules import broken_rows
from mtl_ray.data.contract.state import ContractState
from mtl_ray.data.contract.types import check_types
from mtl_ray.data.join.fragments import storage_error
from mtl_ray.data.labels import Labels, encode_labels, label_counts
from mtl_ray.data.manifest import LABELS_FILE
from mtl_ray.data.numeric_transforms import numeric_values
from mtl_ray.data.packing import packed, unpacked
from mtl_ray.data.preprocessing_state import PreprocessingState
from mtl_ray.data.sampling import repeats
from mtl_ray.data.sequence_times import entry_ages
from mtl_ray.data.sequences import check_lengths, sequence_members
from mtl_ray.data.spine import ROW_ID
from mtl_ray.data.splits import PARTS
from mtl_ray.data.task_inputs import encode_task_inputs, size_cells
from mtl_ray.errors import DataError
from mtl_ray.schema import Settings

PREPROCESSING_FOLDER = "preprocessing"
CONTRACT_FOLDER = "contract"
QUARANTINE_FILE = "quarantine.parquet"

_RECORD_FILE = "bucket.json"
_ROWS_FILE = "rows.parquet"
_PART, _REPEATS, _LABELS, _OBSERVED, _WEIGHT = "__part", "__repeats", "__labels", "__observed", "__weight"
_TASK_INPUTS = "__task_inputs"


class BucketRecord(Settings):
    """What is known of a prepared bucket; written last."""

    spine_rows: int
    quarantined: int
    rows: tuple[int, ...]
    """Rows by part, before sampling."""
    written: tuple[int, ...]
    """Rows by part that go into shards: the training part's after sampling."""


class PreparedRows:
    """The rows of a prepared bucket that go on."""

    def __init__(self, folder: Path) -> None:
        table = pq.read_table(folder / _ROWS_FILE, partitioning=None)
        self.part = table[_PART].to_numpy()
        """int8 `[rows]`."""
        self.repeats = table[_REPEATS].to_numpy()
        """int32 `[rows]`: how often the row is written."""
        self.labels = Labels(unpacked(table[_LABELS].combine_chunks()), unpacked(table[_OBSERVED].combine_chunks()) > 0)
        self.sample_weight = table[_WEIGHT].to_numpy()
        """float32 `[rows]`."""
        encoded = [_PART, _REPEATS, _LABELS, _OBSERVED, _WEIGHT]
        self.task_inputs: np.ndarray | None = None
        """float32 `[rows, K]`; None where no task reads anything."""
        if _TASK_INPUTS in table.column_names:
            self.task_inputs = unpacked(table[_TASK_INPUTS].combine_chunks())
            encoded.append(_TASK_INPUTS)
        self.raw = table.drop_columns(encoded)
        """Feature columns, carried columns and `row_id`."""


def prepare_bucket(build: Build, bucket: int) -> BucketRecord:
    """Prepare `bucket`, or read the record of what stands there prepared.

    Raises `DataError` for what no rule of the contract can take out, and `StorageError` where the disk is full.
    """
    folder = build.bucket_folder(bucket)
    record_file = folder / _RECORD_FILE
    if record_file.exists():
        return BucketRecord.model_validate_json(record_file.read_bytes())
    with _atomic_folder(folder) as aside:
        record = _prepare(build, bucket, aside)
        (aside / _RECORD_FILE).write_text(record.model_dump_json())
    return record


def _prepare(build: Build, bucket: int, folder: Path) -> BucketRecord:
    config = build.config
    joined = build.join.bucket(bucket)
    check_types(joined.schema, build.spec.features, config.contract)
    verdict = broken_rows(joined, build.spec, build.tasks, config.contract)
    write_quarantine(folder / QUARANTINE_FILE, joined, verdict)
    table = joined.filter(pa.array(verdict.ok)) if verdict.broken else joined
    _check_histories(build, table)
    labels = encode_labels(table, build.tasks)
    inputs = encode_task_inputs(table, build.tasks, labels)
    part = build.split.parts(table)
    train = part == PARTS.index("train")
    times = np.ones(table.num_rows, dtype=np.int32)
    sampled = repeats(
        labels, table[ROW_ID].to_numpy(), tuple(build.tasks), config.negative_sampling, config.over_sampling
    )
    times[train] = sampled[train]
    training = table.filter(pa.array(train))
    PreprocessingState.of(config.preprocessing, build.spec.features, training).write(folder / PREPROCESSING_FOLDER)
    contract = ContractState.of(table, part, labels, build.tasks, build.spec, verdict)
    contract.write(folder / CONTRACT_FOLDER)
    pq.write_table(label_counts(labels, part, size_cells(inputs, build.tasks)), folder / LABELS_FILE)
    names = [*(feature.name for feature in build.spec.features), *build.carried, ROW_ID]
    rows = table.select(list(dict.fromkeys(names)))
    for name, column in (
        (_PART, pa.array(part)),
        (_REPEATS, pa.array(times)),
        (_LABELS, packed(labels.values)),
        (_OBSERVED, packed(labels.observed.astype(np.uint8))),
        (_WEIGHT, pa.array(_sample_weight(table, config.sample_weight))),
    ):
        rows = rows.append_column(name, column)
    if inputs.shape[1]:
        rows = rows.append_column(_TASK_INPUTS, packed(inputs))
    pq.write_table(rows, folder / _ROWS_FILE, compression="lz4")
    return BucketRecord(
        spine_rows=joined.num_rows,
        quarantined=verdict.broken,
        rows=tuple(np.bincount(part, minlength=len(PARTS)).tolist()),
        written=tuple(int(times[part == number].sum()) for number in range(len(PARTS))),
    )


def _check_histories(build: Build, table: pa.Table) -> None:
    """Raise `DataError` for what encoding would stop at, before anything is fitted."""
    members = sequence_members(build.spec.features)
    check_lengths(table, {name: [feature.name for feature in features] for name, features in members.items()})
    for feature in build.spec.features:
        if feature.encoding == "times":
            length = build.config.preprocessing.max_length(feature)
            entry_ages(table, feature.name, length, admit_future=build.leaks)


def _sample_weight(table: pa.Table, column: str | None) -> np.ndarray:
    """Row weights, float32 `[rows]`."""
    if column is None:
        return np.ones(table.num_rows, dtype=np.float32)
    weight = numeric_values(table[column], column)
    bad = np.flatnonzero(~(weight >= 0.0))
    if bad.size:
        raise DataError(
            f"The sample weight {column!r} is not a number >= 0 in every row.",
            where=f"spine row {table[ROW_ID][int(bad[0])].as_py()}",
            found=f"{table[column][int(bad[0])].as_py()!r}, and {bad.size - 1} more rows near it",
            allowed="finite numbers >= 0",
        )
    return weight.astype(np.float32)


@contextmanager
def _atomic_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that is renamed to it when the block ends without an error."""
    aside = folder.with_name(f".{folder.name}.{uuid4().hex}")
    try:
        aside.mkdir(parents=True)
        yield aside
        try:
            aside.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process has prepared the same bucket meanwhile
                raise
    except OSError as error:
        raise storage_error(folder, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
