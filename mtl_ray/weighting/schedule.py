"""Task weights that change with the step, as the config says."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor

from mtl_ray.errors import ConfigError, nearest
from mtl_ray.tasks.task import TaskSettings
from mtl_ray.weighting.settings import WeightingSettings
from mtl_ray.weighting.weighting import StepLosses, Weighting, WeightingContext

Points = Annotated[dict[NonNegativeInt, NonNegativeFloat], Field(min_length=1)]
"""Step (0 is the first) -> factor."""


class ScheduleWeightingConfig(WeightingSettings):
    """`weighting: {name: schedule, factors: {purchase: {0: 0.1, 2000: 1}}}`."""

    name: Literal["schedule"] = "schedule"
    factors: dict[str, Points] = Field(default_factory=dict)
    """Task -> step -> what the task's weight is multiplied by from that step on; before the first step that is named,
    its factor. Tasks that are not named keep their weights."""
    between: Literal["constant", "linear"] = "constant"
    """constant: a factor holds until the next step that is named; linear: it moves there in a straight line."""

    def build(self, context: WeightingContext) -> ScheduleWeighting:
        return ScheduleWeighting(context, self)

    def check_tasks(self, tasks: Mapping[str, TaskSettings]) -> None:
        for name in self.factors:
            if name not in tasks:
                closest = nearest(name, tasks)
                raise ConfigError(
                    "The schedule of weights names a task that the config does not have.",
                    where=f"weighting.factors.{name}",
                    found=name,
                    allowed=", ".join(tasks),
                    fix=f"did you mean {closest}?" if closest else "name one of the tasks",
                )


class ScheduleWeighting(Weighting):
    """sum over t of w_t * factor_t(step) * L_t."""

    reads_losses = False

    step: Tensor
    """Steps so far, int64."""

    def __init__(self, context: WeightingContext, config: ScheduleWeightingConfig) -> None:
        super().__init__(context)
        self._points = [sorted(config.factors.get(task, {0: 1.0}).items()) for task in self.tasks]
        self._linear = config.between == "linear"
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def weights(self, losses: StepLosses) -> Tensor:  # noqa: ARG002
        step = int(self.step)
        factors = [self._factor(points, step) for points in self._points]
        return self.task_weights * torch.tensor(factors, dtype=torch.float64, device=self.task_weights.device)

    def end_step(self, losses: StepLosses) -> None:  # noqa: ARG002
        self.step += 1

    def _factor(self, points: list[tuple[int, float]], step: int) -> float:
        after = bisect_right(points, step, key=lambda point: point[0])
        if after == 0:
            return points[0][1]
        begin, factor = points[after - 1]
        if not self._linear or after == len(points):
            return factor
        end, next_factor = points[after]
        return factor + (next_factor - factor) * (step - begin) / (end - begin)
