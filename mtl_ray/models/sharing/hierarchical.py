"""Hierarchical sharing: tasks leave one trunk at different depths (Søgaard and Goldberg, Deep multi-task learning with
low level tasks supervised at lower layers, ACL 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from mtl_ray.errors import ConfigError, nearest
from mtl_ray.models.mlp import MLP
from mtl_ray.models.settings import HiddenSizes, ModelSettings
from mtl_ray.models.sharing.sharing import Encoded, Sharing, parameters_of
from mtl_ray.tasks import TaskSettings
from mtl_ray.tasks.graph import TaskGraph


class HierarchicalConfig(ModelSettings):
    """`model: {name: hierarchical, trunk: [256, 128, 64], exits: {click: 1, cart: 2, purchase: 3}}`."""

    task_graph: ClassVar[Literal["used"]] = "used"

    name: Literal["hierarchical"] = "hierarchical"
    trunk: HiddenSizes = (256, 128)
    """Sizes of the trunk's layers, from the encoder up."""
    exits: dict[str, PositiveInt] = Field(default={})
    """Trunk layers that each task's tower stands on. Empty: the tasks are spread over the trunk, those that are given
    others above these, else in task order; the last one leaves at the top."""

    def check_tasks(self, tasks: Mapping[str, TaskSettings]) -> None:
        super().check_tasks(tasks)
        if not self.exits:
            return
        for name in self.exits:
            if name not in tasks:
                guess = nearest(name, tasks)
                raise ConfigError(
                    "model.exits names a task that does not exist.",
                    where=f"model.exits.{name}",
                    found=name,
                    allowed=", ".join(tasks),
                    fix=f"write {guess}" if guess else "name one of the tasks",
                )
        missing = [name for name in tasks if name not in self.exits]
        if missing or max(self.exits.values()) != len(self.trunk):
            found = f"no exit for {', '.join(missing)}" if missing else f"deepest exit {max(self.exits.values())}"
            raise ConfigError(
                "model.exits does not fit the tasks and the trunk.",
                where="model.exits",
                found=found,
                allowed=f"1 to {len(self.trunk)} for every task, with one task at least at {len(self.trunk)}",
                fix="give every task a depth, or remove the key; shorten the trunk where no task reaches its top",
            )

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> Hierarchical:
        (in_size,) = in_sizes
        exits = [self.exits[name] for name in graph.names] if self.exits else default_exits(len(self.trunk), graph)
        sizes = [in_size, *self.trunk]
        return Hierarchical([self._mlp(size, (above,)) for size, above in zip(sizes, self.trunk, strict=False)], exits)


def default_exits(num_layers: int, graph: TaskGraph) -> list[int]:
    """Depth of each task, 1 to `num_layers`, by its depth in the task graph and then its position."""
    ranked = sorted(range(len(graph)), key=lambda task: (graph.depth(task), task))
    exits = [num_layers] * len(graph)
    for rank, task in enumerate(ranked[:-1]):
        exits[task] = 1 + rank * (num_layers - 1) // (len(graph) - 1)
    return exits


class Hierarchical(Sharing):
    """h_l = layer_l(h_(l-1)) with h_0 = x; the tower of task t reads h_(exits[t]).

    Deviation: feed-forward layers in place of the paper's bi-directional recurrent ones.
    """

    def __init__(self, layers: Sequence[MLP], exits: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.exits = tuple(exits)
        self.out_sizes = [layers[depth - 1].out_size for depth in exits]

    def forward(self, encoded: Encoded) -> tuple[Tensor, ...]:
        hidden = [encoded[0]]
        for depth, layer in enumerate(self.layers, start=1):
            x_BH = layer(hidden[-1])
            hidden += self.cut(x_BH) if depth == min(self.exits) else (x_BH,)
        return tuple(hidden[depth] for depth in self.exits)

    def representation(self, encoded: Encoded) -> Tensor:
        """The trunk at the lowest exit."""
        x = encoded[0]
        for layer in self.layers[: min(self.exits)]:
            x = layer(x)
        return x

    def task_parameters(self, index: int) -> list[nn.Parameter]:
        """The trunk above the second highest exit, where one task alone leaves at the top."""
        below = max((depth for task, depth in enumerate(self.exits) if task != index), default=0)
        return parameters_of(*self.layers[below : self.exits[index]])
