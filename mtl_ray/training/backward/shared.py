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
from mtl_ray.training.backward.backward import Backward, Compared, aggregated
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

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        with ExitStack() as stack:
            for lookup in self._model.lookups:
                stack.enter_context(lookup.taken())
            outputs: dict[str, Tensor] = self._model(batch)
        return outputs

    def __call__(self, losses: Losses, weights_T: Tensor) -> Compared:
        observed = losses.observed.tolist()
        lookups = self._model.lookups
        leaves = [leaf for lookup in lookups for leaf in lookup.above]
        below = [tensor for lookup in lookups for tensor in lookup.below]
        if losses.auxiliary.requires_grad:
            torch.autograd.backward(losses.auxiliary.sum(), retain_graph=True)
        tasks = [task for task, seen in enumerate(observed) if seen]
        of_shared, of_leaves = [], []
        for task in tasks:
            wanted = [*self._shared, *leaves, *self._own[task]]
            found = torch.autograd.grad(losses.local[task], wanted, retain_graph=True, allow_unused=True)
            shared, looked_up, own = _split(found, [len(self._shared), len(leaves), len(self._own[task])])
            weight = float(weights_T[task])
            for parameter, gradient in zip(self._own[task], own, strict=True):
                if gradient is not None:
                    _add(parameter, weight * gradient)
            of_shared.append(torch.cat([_filled(g, p).flatten() for g, p in zip(shared, self._shared, strict=True)]))
            of_leaves.append([_filled(g, leaf) * weight for g, leaf in zip(looked_up, leaves, strict=True)])
        compared = [at for at, task in enumerate(tasks) if task in self._compared]
        gradients = self._global([of_shared[at] for at in compared], [tasks[at] for at in compared], weights_T)
        report, factors = aggregated(gradients, self._aggregation)
        factor_of = {} if report.factors is None else dict(zip(report.tasks, report.factors.tolist(), strict=True))
        down = []
        for at, leaf in enumerate(leaves):
            part = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            for task, of_task in zip(tasks, of_leaves, strict=True):
                part = part + factor_of.get(task, 1.0) * of_task[at]
            down.append(part)
        roots = [(tensor, part) for tensor, part in zip(below, down, strict=True) if tensor.requires_grad]
        if roots:
            torch.autograd.backward([root for root, _ in roots], [part for _, part in roots])
        _average([parameter for parameter in self._model.parameters() if parameter.grad is not None])
        for parameter, part in zip(self._shared, gradients.combined(factors), strict=True):
            _add(parameter, part.view_as(parameter))
        for lookup in lookups:
            lookup.release()
        return report

    def _global(self, rows: Sequence[Tensor], tasks: Sequence[int], weights_T: Tensor) -> TaskGradients:
        """Gradients `[P]` of this rank to those of the global batch, a block a parameter."""
        sizes = [parameter.numel() for parameter in self._shared]
        like = next(self._model.parameters())
        all_TP = torch.stack(list(rows)) if rows else like.new_zeros(0, sum(sizes))
        all_TP = distributed.start_sum(all_TP / distributed.world_size())()
        blocks = [part_TP.unsqueeze(1) for part_TP in torch.split(all_TP, sizes, dim=1)]
        return TaskGradients(blocks, weights_T[list(tasks)], tuple(tasks), split_over_ranks=False)


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


def _average(parameters: Sequence[nn.Parameter]) -> None:
    """Gradients of this rank's part to their mean over ranks, in one all-reduce a dtype."""
    if distributed.world_size() == 1:
        return
    for dtype in {parameter.dtype for parameter in parameters}:
        own = [parameter for parameter in parameters if parameter.dtype == dtype]
        flat = torch.cat([parameter.grad.flatten() for parameter in own if parameter.grad is not None])
        mean = distributed.start_sum(flat / distributed.world_size())()
        for parameter, part in zip(own, torch.split(mean, [parameter.numel() for parameter in own]), strict=True):
            parameter.grad = part.view_as(parameter)
