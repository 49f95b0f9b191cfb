"""The multi-task model: encoder, shared part, one tower a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.models.encoders import FeatureEncoder
from mtl_ray.models.tower import Tower

if TYPE_CHECKING:
    from mtl_ray.models.sharing.sharing import Sharing


class MultiTaskModel(nn.Module):
    """Logits of every task from a batch.

    `shared_parameters()` and `task_parameters(task)` of all tasks together are all parameters, each once.
    """

    def __init__(self, encoder: FeatureEncoder, sharing: Sharing, towers: Mapping[str, Tower]) -> None:
        super().__init__()
        self.task_names = tuple(towers)
        self.encoder = encoder
        self.sharing = sharing
        # Prefixed, as ModuleDict refuses names such as "apply" or "share" that its own methods bear.
        self.towers = nn.ModuleDict({f"task_{name}": tower for name, tower in towers.items()})

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits `[B, C_t]` by task, in task order."""
        inputs = self.sharing(self.encoder(batch))
        return {
            name: tower(task_input)
            for name, tower, task_input in zip(self.task_names, self.towers.values(), inputs, strict=True)
        }

    def representation(self, batch: Batch) -> Tensor:
        """The last thing that all tasks share, `[B, R]`; what it is, each architecture says."""
        return self.sharing.representation(self.encoder(batch))

    def shared_parameters(self) -> list[nn.Parameter]:
        """Parameters of the encoder and of what all tasks share."""
        own = {id(p) for index in range(len(self.task_names)) for p in self.sharing.task_parameters(index)}
        shared = [p for p in self.sharing.parameters() if id(p) not in own]
        return [*self.encoder.parameters(), *shared]

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Parameters that only `task` uses."""
        index = self.task_names.index(task)
        return [*self.sharing.task_parameters(index), *self.towers[f"task_{task}"].parameters()]

    def embedding_parameters(self) -> list[nn.Parameter]:
        """Embedding tables, `[rows, D]` each."""
        tables = (module.weight for module in self.modules() if isinstance(module, nn.Embedding))
        return [table for table in tables if isinstance(table, nn.Parameter)]
