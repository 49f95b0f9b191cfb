"""One encoder of lists, with what it reads of a batch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.models.encoders.histories import HistoryPlan
from mtl_ray.models.encoders.sequences import History, HistorySize
from mtl_ray.schema import MISSING_ID, BatchSchema


class HistoryEncoder(nn.Module):
    """Gathered lists to `[B, K * D]`, K lists side by side.

    An entry is present where one of its ids is not MISSING_ID. A list that misses its id in a present entry has the
    learned row of a missing value there, as a categorical feature has.
    """

    def __init__(self, plan: HistoryPlan, schema: BatchSchema, dim: int, std: float) -> None:
        super().__init__()
        self._lists = tuple(feature.name for feature in plan.lists)
        self._ages = plan.ages
        columns = {feature.name: column for column, feature in enumerate(schema.categorical)}
        self._targets = tuple(columns[name] if name is not None else None for name in plan.targets)
        size = HistorySize(len(plan.lists) * dim, plan.lists[0].max_length, plan.ages is not None, std)
        self.encoder = plan.encoder.build(size)

    def forward(self, batch: Batch, lists: Mapping[str, Tensor], categorical_BFD: Tensor) -> Tensor:
        """`lists`: embeddings `[B, L, D]` by name; `categorical`: those of the categorical features."""
        first, *more = self._lists
        entries, present = lists[first], batch.lists[first] != MISSING_ID
        for name in more:
            entries = torch.cat([entries, lists[name]], dim=-1)
            present = present | (batch.lists[name] != MISSING_ID)
        ages = batch.ages[self._ages] if self._ages is not None else None
        encoded: Tensor = self.encoder(History(entries, present, ages, self._target(categorical_BFD)))
        return encoded

    def _target(self, categorical_BFD: Tensor) -> Tensor | None:
        if not self._targets:
            return None
        nothing_BD = categorical_BFD.new_zeros(categorical_BFD.shape[0], categorical_BFD.shape[2])
        return torch.cat(
            [nothing_BD if column is None else categorical_BFD[:, column] for column in self._targets], dim=1
        )
