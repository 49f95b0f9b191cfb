"""Tasks compared over all dense parameters that they share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from mtl_ray import distributed
from mtl_ray.aggregation import Aggregation, TaskGradients
from mtl_ray.batch import Batch
from mtl_ray.models import MultiTaskModel
from mtl_ray.training.backward.backward import Backward, Compared, Rows, aggregated
from mtl_ray.training.backward.ranks import average
from mtl_ray.training.objective import Losses


class SharedBackward(Backward):
    """Each task has a backward pass of its own, down to what was looked up in the embedding tables. The gradients of
    the shared dense parameters are those of the global batch after one all-reduce of `[T, P]`; their aggregate needs no
    further pass.

    Embedding tables do not count when tasks are compared: most of their rows are one user's or one item's, and `[T, P]`
    of them would be larger than all else. They take the tasks' gradients by the factors that the aggregation found (by
    1, where it has no single factor a task), in one pass from the lookups. All gradients are averaged over ranks here;
    DistributedDataParallel, whose hooks `autograd.grad` goes past, has no part.
    """

    by_task = True

    def __init__(self, model: MultiTaskModel, aggregation: Aggregation | None) -> None:
        self._model = model
        self._aggregation = aggregation
        names = model.task_names
        self._compared = tuple(names.index(name) for name in model.compared_tasks)
        tables = {id(table) for table in model.embedding_parameters()}
        self._shared = _dense(model.shared_parameters(), tables)
        self._own = [_dense(model.task_parameters(name), tables) for name in names]
        self._gradients: TaskGradients | None = None
        self._factors: list[Tensor] = []
        self._factor_of: dict[int, float] = {}

    def forward(self, batch: Batch, last: bool) -> dict[str, Tensor]:  # noqa: ARG002
        with ExitStack() as stack:
            for lookup in self._model.lookups:
                stack.enter_context(lookup.taken())
            outputs: dict[str, Tensor] = self._model(batch)
        return outputs

    def compare(self, losses: Losses, weights_T: Tensor) -> Rows:
        """A task's gradient of all shared dense parameters `[P]`, and of what each lookup gave. Leaves those of the
        task's own parameters in `.grad`."""
        leaves = self._leaves()
        rows = []
        for task in _observed(losses):
            wanted = [*self._shared, *leaves, *self._own[task]]
            found = torch.autograd.grad(losses.local[task], wanted, retain_graph=True, allow_unused=True)
            shared, looked_up, own = _split(found, [len(self._shared), len(leaves), len(self._own[task])])
            for parameter, gradient in zip(self._own[task], own, strict=True):
                if gradient is not None:
                    _add(parameter, gradient * weights_T[task].to(gradient.dtype))
            all_P = torch.cat([_filled(g, p).flatten() for g, p in zip(shared, self._shared, strict=True)])
            rows.append([all_P, *(_filled(g, leaf) for g, leaf in zip(looked_up, leaves, strict=True))])
        return rows

    def settle(self, parts: Sequence[Rows], losses: Losses, weights_T: Tensor) -> Compared:
        observed = _observed(losses)
        compared = [at for at, task in enumerate(observed) if task in self._compared]
        tasks = [observed[at] for at in compared]
        sizes = [parameter.numel() for parameter in self._shared]
        if compared:
            all_TP = torch.stack([torch.stack([rows[at][0] for at in compared]) for rows in parts]).sum(dim=0)
        else:
            all_TP = losses.local.new_zeros(0, sum(sizes))
        all_TP = distributed.start_sum(all_TP / distributed.world_size())()
        blocks = [part_TP.unsqueeze(1) for part_TP in torch.split(all_TP, sizes, dim=1)]
        self._gradients = TaskGradients(blocks, weights_T[tasks], tasks, split_over_ranks=False)
        report, self._factors = aggregated(self._gradients, self._aggregation)
        factors = report.factors
        self._factor_of = {} if factors is None else dict(zip(report.tasks, factors.tolist(), strict=True))
        return report

    def descend(self, losses: Losses, rows: Rows, weights_T: Tensor) -> None:
        leaves = self._leaves()
        if losses.auxiliary.requires_grad:
            torch.autograd.backward(losses.auxiliary.sum(), retain_graph=True)
        down = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
        for task, (_, *of_leaves) in zip(_observed(losses), rows, strict=True):
            factor = self._factor_of.get(task, 1.0) * float(weights_T[task])
            down = [part + factor * own for part, own in zip(down, of_leaves, strict=True)]
        below = [tensor for lookup in self._model.lookups for tensor in lookup.below]
        roots = [(tensor, part) for tensor, part in zip(below, down, strict=True) if tensor.requires_grad]
        if roots:
            torch.autograd.backward([root for root, _ in roots], [part for _, part in roots])
        for lookup in self._model.lookups:
            lookup.release()

    def finish(self) -> None:
        assert self._gradients is not None
        average([parameter for parameter in self._model.parameters() if parameter.grad is not None])
        for parameter, part in zip(self._shared, self._gradients.combined(self._factors), strict=True):
            _add(parameter, part.view_as(parameter))
        self._gradients = None

    def _leaves(self) -> list[Tensor]:
        return [leaf for lookup in self._model.lookups for leaf in lookup.above]


def _observed(losses: Losses) -> list[int]:
    return [task for task, seen in enumerate(losses.observed.tolist()) if seen]


def _dense(parameters: Sequence[nn.Parameter], tables: set[int]) -> list[nn.Parameter]:
    return [p for p in parameters if p.requires_grad and id(p) not in tables]


def _split(found: Sequence[Tensor | None], sizes: Sequence[int]) -> list[list[Tensor | None]]:
    parts, begin = [], 0
    for size in sizes:
        parts.append(list(found[begin : begin + size]))
        begin += size
    return parts


def _filled(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient


def _add(parameter: nn.Parameter, gradient: Tensor) -> None:
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
