"""The multi-task model: encoders, shared part, one tower a task, and the tasks' outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.models.auxiliary import AuxiliaryLoss
from mtl_ray.models.cut import Cut
from mtl_ray.models.encoders import FeatureEncoder
from mtl_ray.models.encoding import Encoder, EncodingSet
from mtl_ray.models.next_item import TwoTowers
from mtl_ray.models.outputs import Outputs
from mtl_ray.models.tower import Tower

if TYPE_CHECKING:
    from mtl_ray.models.sharing.sharing import Sharing


class MultiTaskModel(nn.Module):
    """Logits of every task from a batch.

    The architecture (encoders, sharing, towers, outputs) is of all tasks but the `next_item` ones, whose `two_towers`
    stand beside it; its label columns are those of its own tasks.

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
        embedding_l2: float = 0.0,
        two_towers: Mapping[str, TwoTowers] | None = None,
        task_names: Sequence[str] | None = None,
    ) -> None:
        """
        Args:
            embedding_l2: coefficient of the squared length of the embeddings that a row shows, a mean over rows.
            two_towers: by `next_item` task.
            task_names: all tasks in the order of the label columns; None: those of `towers`.
        """
        super().__init__()
        self.task_names = tuple(towers) if task_names is None else tuple(task_names)
        self._in_architecture = tuple(towers)
        self.encoders = nn.ModuleList(encoders)
        self.sharing = sharing
        # Prefixed, as ModuleDict refuses names such as "apply" or "share" that its own methods bear.
        self.towers = nn.ModuleDict({f"task_{name}": tower for name, tower in towers.items()})
        self.outputs = outputs
        self.two_towers = nn.ModuleDict({f"task_{name}": tower for name, tower in (two_towers or {}).items()})
        self._embedding_l2 = embedding_l2
        self._encoder_tasks = tuple(wanted.task for wanted in sets)

    @property
    def encoder(self) -> Encoder:
        """The first encoder; for most architectures, the only one."""
        return cast("Encoder", self.encoders[0])

    @property
    def cut(self) -> Cut:
        """Between what tasks share and what each has of its own; `next_item` tasks do not lead through it."""
        return self.sharing.cut

    @property
    def lookups(self) -> tuple[Cut, ...]:
        """Between the embedding tables and the rest: nothing leads past them but the penalty on embeddings."""
        return tuple(module.lookup for module in self.modules() if isinstance(module, FeatureEncoder))

    @property
    def compared_tasks(self) -> tuple[str, ...]:
        """The architecture's tasks, whose gradients meet at `cut`."""
        return self._in_architecture

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits `[B, C_t]` by task, in task order; while training perhaps followed by what `auxiliary_losses` needs,
        under names with a slash."""
        inputs, extras = self.sharing.inputs(self._encoded(batch))
        logits = {
            name: tower(task_input)
            for name, tower, task_input in zip(self._in_architecture, self.towers.values(), inputs, strict=True)
        }
        outputs: dict[str, Tensor] = self.outputs(inputs, logits)
        if self.two_towers:
            found = {**outputs, **self._two_towers_logits(batch)}
            outputs = {**{name: found[name] for name in self.task_names}, **outputs}
        return {**outputs, **extras}

    @property
    def auxiliary_names(self) -> tuple[str, ...]:
        """Keys of `auxiliary_losses`, the same in every step."""
        own = ("embedding_l2",) if self._embedding_l2 else ()
        return (*self.sharing.auxiliary_names, *self.outputs.auxiliary_names, *own)

    def auxiliary_losses(self, batch: Batch, logits: Mapping[str, Tensor]) -> dict[str, AuxiliaryLoss]:
        """This rank's part of each loss that the model adds to the tasks', from what `forward` gave for `batch` while
        training."""
        seen = self._with_own_labels(batch)
        losses = {**self.sharing.auxiliary_losses(seen, logits), **self.outputs.auxiliary_losses(seen, logits)}
        if self._embedding_l2:
            modules = cast("list[Encoder | TwoTowers]", [*self.encoders, *self.two_towers.values()])
            squares = [module.squared_norms(batch) for module in modules]
            square_B = torch.stack([square_B for square_B in squares if square_B is not None]).sum(dim=0)
            real_B = (batch.row_id >= 0).to(square_B.dtype)
            losses["embedding_l2"] = AuxiliaryLoss(self._embedding_l2 * torch.dot(real_B, square_B), real_B.sum())
        return losses

    def representation(self, batch: Batch) -> Tensor:
        """The last thing that all tasks share, `[B, R]`; what it is, each architecture says. Where they share nothing
        R is 0."""
        if not self.encoders:
            return batch.sample_weight.new_zeros(len(batch), 0)
        return self.sharing.representation(self._encoded(batch))

    def gates(self, batch: Batch) -> dict[str, Tensor]:
        """Softmax gates over experts, `[B, E]` each, by the task that reads the mixture, or "shared gate" or "group N";
        with "level N/" before it where there are several levels. Empty for architectures without gates."""
        found = self.sharing.gates(self._encoded(batch))
        levels = {level for level, _ in found}
        names = {key: key[1] if isinstance(key[1], str) else self._in_architecture[key[1]] for key in found}
        return {
            f"level {key[0]}/{names[key]}" if len(levels) > 1 else names[key]: gate_BE for key, gate_BE in found.items()
        }

    def shared_parameters(self) -> list[nn.Parameter]:
        """Parameters that the losses of several tasks reach."""
        own = {id(parameter) for task in self.task_names for parameter in self.task_parameters(task)}
        return [parameter for parameter in self.parameters() if id(parameter) not in own]

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Parameters that the loss of `task` alone reaches."""
        if task not in self._in_architecture:
            return list(self.two_towers[f"task_{task}"].parameters())
        index = self._in_architecture.index(task)
        modules = [encoder for encoder, own in zip(self.encoders, self._encoder_tasks, strict=True) if own == index]
        if self.outputs.tower_is_own(index):
            modules.append(self.towers[f"task_{task}"])
        parameters = [parameter for module in modules for parameter in module.parameters()]
        return [*self.sharing.task_parameters(index), *self.outputs.task_parameters(index), *parameters]

    def embedding_tables(self) -> list[nn.Embedding]:
        """The large tables, `[rows, D]` each, which optimizers treat apart."""
        return [module for module in self.modules() if isinstance(module, nn.Embedding)]

    def embedding_parameters(self) -> list[nn.Parameter]:
        """Weights of `embedding_tables`."""
        return [table.weight for table in self.embedding_tables() if isinstance(table.weight, nn.Parameter)]

    def _two_towers_logits(self, batch: Batch) -> dict[str, Tensor]:
        shared = next((at for at, task in enumerate(self._encoder_tasks) if task is None), None)
        table = None if shared is None else cast("FeatureEncoder", self.encoders[shared]).embedding
        return {name.removeprefix("task_"): tower(batch, table) for name, tower in self.two_towers.items()}

    def _with_own_labels(self, batch: Batch) -> Batch:
        """The batch with the label columns of the architecture's tasks alone."""
        if not self.two_towers:
            return batch
        columns = [self.task_names.index(name) for name in self._in_architecture]
        return replace(batch, labels=batch.labels[:, columns], observed=batch.observed[:, columns])

    def _encoded(self, batch: Batch) -> tuple[Tensor, ...]:
        return tuple(encoder(batch) for encoder in self.encoders)
