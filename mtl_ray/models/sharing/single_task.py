"""Single-task: nothing is shared, one model a task. What every other architecture is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from torch import Tensor, nn

from mtl_ray.models.encoding import EncodingSet
from mtl_ray.models.mlp import MLP
from mtl_ray.models.settings import HiddenSizes, ModelSettings
from mtl_ray.models.sharing.sharing import Encoded, Sharing, nothing_shared, parameters_of
from mtl_ray.schema import BatchSchema
from mtl_ray.tasks import TaskSettings
from mtl_ray.tasks.graph import TaskGraph


class SingleTaskConfig(ModelSettings):
    """`model: {name: single_task}`."""

    shares: ClassVar[bool] = False

    name: Literal["single_task"] = "single_task"
    bottom: HiddenSizes = (256, 128)
    """Hidden sizes of each task's MLP, below its tower."""

    def check_tasks(self, tasks: Mapping[str, TaskSettings]) -> None:
        # None at all is a model of next_item tasks alone.
        if tasks:
            super().check_tasks(tasks)

    def encoding_sets(self, schema: BatchSchema) -> tuple[EncodingSet, ...]:
        return tuple(EncodingSet(task=task) for task in range(len(schema.tasks)))

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> SingleTask:  # noqa: ARG002
        return SingleTask([self._mlp(in_size, self.bottom) for in_size in in_sizes])


class SingleTask(Sharing):
    """f_t(x_t) for task t, with embedding tables, MLP and tower of its own.

    The tasks still are one model in one optimizer: only the clipping of the gradient's norm joins them.
    """

    def __init__(self, bottoms: Sequence[MLP]) -> None:
        super().__init__()
        self.bottoms = nn.ModuleList(bottoms)
        self.out_sizes = [bottom.out_size for bottom in bottoms]

    def forward(self, encoded: Encoded) -> tuple[Tensor, ...]:
        return tuple(bottom(x_BD) for bottom, x_BD in zip(self.bottoms, encoded, strict=True))

    def representation(self, encoded: Encoded) -> Tensor:
        """Empty."""
        return nothing_shared(encoded)

    def task_parameters(self, index: int) -> list[nn.Parameter]:
        return parameters_of(self.bottoms[index])
