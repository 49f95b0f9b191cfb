"""Watch-time tasks: for how long is it watched, freed of how long it is?

Source: D2Q, Zhan et al. KDD 2022 (Deconfounding duration bias in watch-time prediction for video recommendation). Rows
are cut into groups of equal size by duration. Of a label it is learnt which quantile it is of its group, so that long
videos are not preferred for their length alone; what is predicted is the value of the group at the predicted quantile,
in label units.

Deviations: a group's distribution is known at 201 equally spaced ranks, between which it is taken to be linear, and the
quantile of a label that many rows share is the middle of theirs. The edges of the groups lie on a grid that is 1.1 %
wide. A row without a duration has the distribution of all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mtl_ray.metrics import Metric, regression_metrics
from mtl_ray.schema import DurationGroups, LabelStatistics
from mtl_ray.tasks.inputs import refuse_input
from mtl_ray.tasks.labels import amounts
from mtl_ray.tasks.task import NO_INPUTS, Task, TaskSettings, at_least_float32

_NOTHING_KNOWN = DurationGroups(edges=(), quantiles=((0.0, 0.0),))


class WatchTimeTaskConfig(TaskSettings):
    """Label is a finite number >= 0, such as seconds watched."""

    type: Literal["watch_time"] = "watch_time"
    duration: str
    """Column of the spine, or raw feature: how long the whole is, a number >= 0, in any unit. Predictions need it
    too."""
    groups: int = Field(default=30, ge=1, le=1000)
    """Duration groups, of as equal size as the durations allow."""
    loss: Literal["squared", "bce"] = "squared"
    """Of sigmoid(output) against the quantile: squared error, as in the paper, or cross-entropy, whose gradient does
    not fade where sigmoid is flat. Both are lowest at the mean quantile."""

    def prediction_columns(self) -> tuple[str, ...]:
        return (self.duration,)

    def statistics_input(self) -> str | None:
        return self.duration

    def check_inputs(self, column: str, values: np.ndarray, observed: np.ndarray) -> None:
        super().check_inputs(column, values, observed)
        if column == self.duration:
            refuse_input(
                observed & ((values < 0.0) | np.isinf(values)),
                values,
                column,
                what="duration",
                allowed="finite numbers >= 0; NULL where not known",
                fix="correct the column",
            )

    def encode_labels(self, values: pa.ChunkedArray, column: str) -> np.ndarray:
        return amounts(values, column)

    def build(self, name: str, statistics: LabelStatistics) -> WatchTimeTask:
        return WatchTimeTask(name, self, statistics)


class WatchTimeTask(Task):
    """`C_t` = 1; predictions `[B]` are in label units."""

    num_outputs = 1
    config: WatchTimeTaskConfig

    def __init__(self, name: str, config: WatchTimeTaskConfig, statistics: LabelStatistics) -> None:
        super().__init__(name, config)
        groups = statistics.duration_groups or _NOTHING_KNOWN
        self._edges = torch.tensor(groups.edges, dtype=torch.float64)
        self._quantiles = torch.tensor(groups.quantiles, dtype=torch.float64)

    def loss(self, logits: Tensor, label: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:
        output = at_least_float32(logits).squeeze(-1)
        target = self.quantile_of(label.to(output.dtype), inputs[self.config.duration])
        if self.config.loss == "bce":
            return F.binary_cross_entropy_with_logits(output, target, reduction="none")
        return torch.square(torch.sigmoid(output) - target)

    def predict(self, logits: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:
        quantile = torch.sigmoid(at_least_float32(logits)).squeeze(-1)
        table = self._quantiles.to(device=quantile.device, dtype=quantile.dtype)
        group = self._group(inputs[self.config.duration])
        place = quantile * (table.shape[1] - 1)
        below = place.floor().clamp(max=table.shape[1] - 2)
        at = below.long()
        return torch.lerp(table[group, at], table[group, at + 1], place - below)

    def quantile_of(self, label: Tensor, duration: Tensor) -> Tensor:
        """Which quantile of its duration group each label is, from 0 to 1, `[B]`."""
        table = self._quantiles.to(device=label.device, dtype=label.dtype)[self._group(duration)]
        last = table.shape[1] - 1
        label_ = label[:, None].contiguous()
        first_not_below = torch.searchsorted(table, label_)
        first_above = torch.searchsorted(table, label_, right=True)
        low = table.gather(1, (first_not_below - 1).clamp(min=0))
        high = table.gather(1, first_not_below.clamp(max=last))
        between = (label_ - low) / torch.where(high > low, high - low, 1.0)
        apart = (first_not_below - 1 + between).clamp(min=0.0, max=float(last))
        # Of equal values the label is in the middle.
        shared = 0.5 * (first_not_below + first_above - 1).to(label.dtype)
        place = torch.where(first_above > first_not_below, shared, apart)
        return (place / last).squeeze(1)

    def initial_bias(self) -> Tensor:
        """0: the mean quantile is one half."""
        return torch.zeros(1)

    def metrics(self, grouped: bool) -> dict[str, Metric]:  # noqa: ARG002 - no metric of this type is grouped
        return regression_metrics(log1p=True)

    def _group(self, duration: Tensor) -> Tensor:
        """Row of the table of quantiles, int64 `[B]`; the last one where the duration is missing."""
        edges = self._edges.to(duration.device)
        group = torch.bucketize(duration.double().contiguous(), edges, right=True)
        return torch.where(torch.isnan(duration), self._quantiles.shape[0] - 1, group)
