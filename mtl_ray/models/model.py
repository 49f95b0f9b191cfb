"""The multi-task model: encoders, shared part, one tower a task, and the tasks' outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.models.auxiliary import AuxiliaryLoss
from mtl_ray.models.encoding import Encoder, EncodingSet
from mtl_ray.models.outputs import Outputs
from mtl_ray.models.tower import Tower

if TYPE_CHECKING:
    from mtl_ray.models.sharing.sharing import Sharing


class MultiTaskModel(nn.Module):
    """Logits of every task from a batch.

    `shared_parameters()` and `task_parameters(task)` of all tasks together are all parameters, each once: a task's are
    those that no other task's loss reaches, and the shared ones those that several tasks' losses do.
    """

    def __init__(
        self,
        encoders: Sequence[Encoder],
        sets: Sequence[EncodingSet],
        sharing: Sharing,
        towers: Mapping[str, Tower],
        outputs: Outputs,
    ) -> None:
        super().__init__()
        self.task_names = tuple(towers)
        self.encoders = nn.ModuleList(encoders)
        self.sharing = sharing
        # Prefixed, as ModuleDict refuses names such as "apply" or "share" that its own methods bear.
        self.towers = nn.ModuleDict({f"task_{name}": tower for name, tower in towers.items()})
        self.outputs = outputs
        self._encoder_tasks = tuple(wanted.task for wanted in sets)

    @property
    def encoder(self) -> Encoder:
        """The first encoder; for most architectures, the only one."""
        return cast("Encoder", self.encoders[0])

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits `[B, C_t]` by task, in task order; while training perhaps followed by what `auxiliary_losses` needs,
        under names with a slash."""
        inputs = self.sharing(self._encoded(batch))
        logits = {
            name: tower(task_input)
            for name, tower, task_input in zip(self.task_names, self.towers.values(), inputs, strict=True)
        }
        outputs: dict[str, Tensor] = self.outputs(inputs, logits)
        return outputs

    @property
    def auxiliary_names(self) -> tuple[str, ...]:
        """Keys of `auxiliary_losses`, the same in every step."""
        return (*self.sharing.auxiliary_names, *self.outputs.auxiliary_names)

    def auxiliary_losses(self, batch: Batch, logits: Mapping[str, Tensor]) -> dict[str, AuxiliaryLoss]:
        """This rank's part of each loss that the architecture adds to the tasks', from what `forward` gave for `batch`
        while training."""
        return {**self.sharing.auxiliary_losses(), **self.outputs.auxiliary_losses(batch, logits)}

    def representation(self, batch: Batch) -> Tensor:
        """The last thing that all tasks share, `[B, R]`; what it is, each architecture says. Where they share nothing
        R is 0."""
        return self.sharing.representation(self._encoded(batch))

    def shared_parameters(self) -> list[nn.Parameter]:
        """Parameters that the losses of several tasks reach."""
        own = {id(parameter) for task in self.task_names for parameter in self.task_parameters(task)}
        return [parameter for parameter in self.parameters() if id(parameter) not in own]

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Parameters that the loss of `task` alone reaches."""
        index = self.task_names.index(task)
        modules = [encoder for encoder, own in zip(self.encoders, self._encoder_tasks, strict=True) if own == index]
        if self.outputs.tower_is_own(index):
            modules.append(self.towers[f"task_{task}"])
        parameters = [parameter for module in modules for parameter in module.parameters()]
        return [*self.sharing.task_parameters(index), *self.outputs.task_parameters(index), *parameters]

    def embedding_parameters(self) -> list[nn.Parameter]:
        """Embedding tables, `[rows, D]` each."""
        tables = (module.weight for module in self.modules() if isinstance(module, nn.Embedding))
        return [table for table in tables if isinstance(table, nn.Parameter)]

    def _encoded(self, batch: Batch) -> tuple[Tensor, ...]:
        return tuple(encoder(batch) for encoder in self.encoders)
