"""One batch of encoded rows as tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B rows of one rank. Padding rows (`row_id` -1) have nothing observed and count nowhere."""

    categorical: Tensor
    """Vocabulary ids, int32 `[B, F_c]`, columns in the order of `BatchSchema.categorical`."""
    numeric: Tensor
    """Transformed numbers, float32 `[B, F_n]` (float64 in float64 runs)."""
    labels: Tensor
    """Raw labels, float32 `[B, T]`; 0 where not observed; a multiclass label is its class index."""
    observed: Tensor
    """Which labels exist, bool `[B, T]`."""
    sample_weight: Tensor
    """Weight of each row in every loss, float32 `[B]`."""
    row_id: Tensor
    """Position of the row in the spine, int64 `[B]`; -1 for padding."""
    lists: dict[str, Tensor] = field(default_factory=dict)
    """List features, int32 `[B, L]` each, padded in front with 0."""
    ages: dict[str, Tensor] = field(default_factory=dict)
    """Ages of a sequence's entries in seconds before the row's time, float32 `[B, L]` each, at least 0; 0 where the
    sequence's lists are padded."""
    vectors: dict[str, Tensor] = field(default_factory=dict)
    """Precomputed vectors, float32 `[B, D]` each; zeros where missing."""
    task_inputs: dict[str, Tensor] = field(default_factory=dict)
    """What tasks read beside their labels, float32 `[B]` each, in raw units; NaN where missing."""

    def __len__(self) -> int:
        return int(self.row_id.shape[0])

    def parts(self, number: int) -> list[Batch]:
        """The rows in `number` consecutive parts as equal as can be, fewer where there are fewer rows; not copies."""
        bounds = [len(self) * part // number for part in range(number + 1)]
        return [self.taken(slice(begin, end)) for begin, end in pairwise(bounds) if begin < end]

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Batch:
        """The batch on `device`; floating tensors as `dtype` where it is given."""

        def move(tensor: Tensor) -> Tensor:
            wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
            return tensor.to(device=device, dtype=wanted, non_blocking=True)

        return self._with_each(move)

    def taken(self, rows: Tensor | slice) -> Batch:
        """The rows at positions `rows` `[B]`, int64, or in a slice."""
        return self._with_each(lambda tensor: tensor[rows])

    def _with_each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(
            categorical=change(self.categorical),
            numeric=change(self.numeric),
            labels=change(self.labels),
            observed=change(self.observed),
            sample_weight=change(self.sample_weight),
            row_id=change(self.row_id),
            lists={name: change(tensor) for name, tensor in self.lists.items()},
            ages={name: change(tensor) for name, tensor in self.ages.items()},
            vectors={name: change(tensor) for name, tensor in self.vectors.items()},
            task_inputs={name: change(tensor) for name, tensor in self.task_inputs.items()},
        )
