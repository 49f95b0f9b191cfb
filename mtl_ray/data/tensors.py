"""Rows of a training set as tensors."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from mtl_ray.batch import Batch
from mtl_ray.data.packing import unpacked
from mtl_ray.schema import BatchSchema


def to_batch(table: pa.Table, schema: BatchSchema) -> Batch:
    """A block of snapshot rows as tensors. Packed columns are wrapped, not copied."""
    rows = table.num_rows
    return Batch(
        categorical=_packed(table, "categorical") if schema.categorical else torch.zeros(rows, 0, dtype=torch.int32),
        numeric=_packed(table, "numeric") if schema.numeric else torch.zeros(rows, 0),
        labels=_packed(table, "labels"),
        observed=_packed(table, "observed").bool(),
        sample_weight=_tensor(table.column("sample_weight").to_numpy()),
        row_id=_tensor(table.column("row_id").to_numpy()),
        lists={feature.name: _packed(table, f"list_{feature.name}") for feature in schema.lists},
    )


def _packed(table: pa.Table, name: str) -> torch.Tensor:
    return _tensor(unpacked(table.column(name)))


def _tensor(values: npt.NDArray[np.generic]) -> torch.Tensor:
    with warnings.catch_warnings():
        # Arrow's memory is read-only and torch has no read-only tensors; nobody writes to a batch.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(values)
