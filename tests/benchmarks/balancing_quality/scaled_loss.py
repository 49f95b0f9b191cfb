"""A task whose training loss is another number of times as large, as if it were told in another unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mtl_ray.config import Config
from mtl_ray.metrics import Metric
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import NO_INPUTS, Task


def with_scaled_losses(config: Config, factors: Mapping[str, float]) -> Config:
    """`config` whose tasks compute `factors` times their training losses: all weightings and aggregations see those.

    Task weights, validation losses and predictions are as they were. A checkpoint keeps the tasks unscaled.
    """
    tasks = {name: _scaled(task, factors[name]) if name in factors else task for name, task in config.tasks.items()}
    # A copy is not validated, which would bring the leaf back to one of the union's own.
    return config.model_copy(update={"tasks": tasks})


def _scaled(settings: Any, factor: float) -> Any:
    kind: Any = type(settings)

    class Scaled(kind):  # type: ignore[misc, unused-ignore]
        """The same leaf; its task has the scaled loss."""

        def build(self, name: str, statistics: LabelStatistics) -> Task:
            return ScaledLoss(kind.build(self, name, statistics), factor)

    return Scaled.model_validate(settings.model_dump())


class ScaledLoss(Task):
    """`task` in everything but `loss`."""

    def __init__(self, task: Task, factor: float) -> None:
        super().__init__(task.name, task.config)
        self.num_outputs = task.num_outputs
        self._task, self._factor = task, factor

    def loss(self, logits: Tensor, label: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:
        return self._factor * self._task.loss(logits, label, inputs)

    def held_out_loss(self, logits: Tensor, label: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:
        """Not scaled: what is chosen on the validation part is chosen as without the factor."""
        return self._task.held_out_loss(logits, label, inputs)

    def row_weight(self, inputs: Mapping[str, Tensor]) -> Tensor | None:
        return self._task.row_weight(inputs)

    def counted(self, label: Tensor) -> Tensor | None:
        return self._task.counted(label)

    def class_weight(self, label: Tensor) -> Tensor | None:
        return self._task.class_weight(label)

    def copies(self, label: Tensor, observed: Tensor) -> Tensor | None:
        return self._task.copies(label, observed)

    def corrected(self, logits: Tensor) -> Tensor:
        return self._task.corrected(logits)

    def predict(self, logits: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:
        return self._task.predict(logits, inputs)

    def initial_bias(self) -> Tensor:
        return self._task.initial_bias()

    def metrics(self, grouped: bool) -> dict[str, Metric]:
        return self._task.metrics(grouped)
