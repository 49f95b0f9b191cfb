"""Rows of a training set as tensors."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from mtl_ray.batch import Batch
from mtl_ray.data.packing import unpacked
from mtl_ray.schema import BatchSchema


def to_batch(table: pa.Table, schema: BatchSchema, stored: BatchSchema | None = None) -> Batch:
    """A block of snapshot rows as tensors. Packed columns are wrapped, not copied.

    `stored`: the snapshot's own schema, where `schema` has only some of its tasks (`mtl_ray.data.narrowing`); their
    columns are copied out of the packed ones.
    """
    rows = table.num_rows
    stored = stored or schema
    tasks = [stored.tasks.index(task) for task in schema.tasks]
    own = slice(None) if schema.tasks == stored.tasks else tasks
    return Batch(
        categorical=_packed(table, "categorical") if schema.categorical else torch.zeros(rows, 0, dtype=torch.int32),
        numeric=_packed(table, "numeric") if schema.numeric else torch.zeros(rows, 0),
        labels=_packed(table, "labels")[:, own],
        observed=_packed(table, "observed").bool()[:, own],
        sample_weight=_tensor(table.column("sample_weight").to_numpy()),
        row_id=_tensor(table.column("row_id").to_numpy()),
        lists={feature.name: _packed(table, f"list_{feature.name}") for feature in schema.lists},
        ages={feature.name: _packed(table, f"age_{feature.name}") for feature in schema.ages},
        vectors={feature.name: _packed(table, f"vector_{feature.name}") for feature in schema.vectors},
        task_inputs=_columns(table, "task_inputs", schema.task_inputs, stored.task_inputs),
    )


def _columns(table: pa.Table, name: str, columns: Sequence[str], stored: Sequence[str]) -> dict[str, torch.Tensor]:
    """`columns` of the packed column `name`, which holds `stored`: one tensor `[B]` each."""
    if not columns:
        return {}
    every = dict(zip(stored, _packed(table, name).unbind(dim=1), strict=True))
    return {column: every[column] for column in columns}


def _packed(table: pa.Table, name: str) -> torch.Tensor:
    return _tensor(unpacked(table.column(name)))


def _tensor(values: npt.NDArray[np.generic]) -> torch.Tensor:
    with warnings.catch_warnings():
        # Arrow's memory is read-only and torch has no read-only tensors; nobody writes to a batch.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(values)
