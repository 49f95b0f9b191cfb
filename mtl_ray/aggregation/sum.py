"""The plain sum of the tasks' weighted gradients."""

from __future__ import annotations

from typing import Literal

from mtl_ray.aggregation.aggregation import AggregationContext, AggregationSettings


class SumConfig(AggregationSettings):
    """`aggregation: {name: sum}`: one backward pass of the weighted sum."""

    name: Literal["sum"] = "sum"

    def build(self, context: AggregationContext) -> None:
        """None: no task's gradient is looked at by itself."""
