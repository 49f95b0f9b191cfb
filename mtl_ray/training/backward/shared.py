"""Tasks compared over all dense parameters that they share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from mtl_ray import distributed
from mtl_ray.aggregation import Aggregation, TaskGradients, combined
from mtl_ray.batch import Batch
from mtl_ray.models import MultiTaskModel
from mtl_ray.training.backward.backward import Backward, Compared, Row, Rows, aggregated
from mtl_ray.training.backward.frontier import frontier
from mtl_ray.training.backward.ranks import average
from mtl_ray.training.backward.row_exchange import RowExchange
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

    def __init__(self, model: MultiTaskModel, exchange_rows: RowExchange, aggregation: Aggregation | None) -> None:
        """`exchange_rows`: of the tables with sparse gradients."""
        super().__init__(exchange_rows)
        self._model = model
        self._aggregation = aggregation
        names = model.task_names
        self._compared = tuple(names.index(name) for name in model.compared_tasks)
        tables = {id(table) for table in model.embedding_parameters()}
        self._shared = _dense(model.shared_parameters(), tables)
        self._dense = _dense(list(model.parameters()), tables)
        self._own = [_dense(model.task_parameters(name), tables) for name in names]
        self._at: list[int] = []
        self._summed: list[list[Tensor]] = []
        self._weights_t = torch.zeros(0)
        self._factors: list[Tensor] = []
        self._factor_of: dict[int, float] = {}

    def forward(self, batch: Batch, last: bool) -> dict[str, Tensor]:  # noqa: ARG002
        with ExitStack() as stack:
            for lookup in self._model.lookups:
                stack.enter_context(lookup.taken())
            outputs: dict[str, Tensor] = self._model(batch)
        return outputs

    def compare(self, losses: Losses, weights_T: Tensor) -> Rows:
        """A task's gradient of each shared dense parameter, `[1, ...]`, beside those at the edges from which the way to
        the lookups meets no dense parameter any more. Leaves those of the task's own parameters in `.grad`."""
        edges = self._edges(losses)
        rows = []
        for task in _positions(losses.observed):
            wanted: list[Any] = [*self._shared, *edges, *self._own[task]]
            found = torch.autograd.grad(losses.each[task], wanted, retain_graph=True, allow_unused=True)
            shared, at_edges, own = _split(found, [len(self._shared), len(edges), len(self._own[task])])
            for parameter, gradient in zip(self._own[task], own, strict=True):
                if gradient is not None:
                    _add(parameter, gradient * weights_T[task].to(gradient.dtype))
            rows.append(Row([_filled(g, p)[None] for g, p in zip(shared, self._shared, strict=True)], at_edges))
        return rows

    def settle(self, parts: Sequence[Rows], observed_T: Tensor, weights_T: Tensor) -> Compared:
        observed = _positions(observed_T)
        self._at = [at for at, task in enumerate(observed) if task in self._compared]
        tasks = [observed[at] for at in self._at]
        self._summed = _over_ranks([[rows[at].compared for at in self._at] for rows in parts])
        self._weights_t = weights_T[tasks]
        gradients = TaskGradients(
            [self._summed],
            len(self._shared),
            self._weights_t,
            tasks,
            split_over_ranks=False,
        )
        report, self._factors = aggregated(gradients, self._aggregation)
        factors = report.factors
        self._factor_of = {} if factors is None else dict(zip(report.tasks, factors.tolist(), strict=True))
        return report

    def descend(self, losses: Losses, rows: Rows, weights_T: Tensor) -> None:
        leaves = self._leaves()
        if losses.auxiliary.requires_grad:
            torch.autograd.backward(losses.auxiliary.sum(), retain_graph=True)
        edges = self._edges(losses)
        at_edges: list[Tensor | None] = [None] * len(edges)
        for task, row in zip(_positions(losses.observed), rows, strict=True):
            scale = self._factor_of.get(task, 1.0) * float(weights_T[task])
            at_edges = [_plus(part, own, scale) for part, own in zip(at_edges, row.beside, strict=True)]
        _backward(edges, at_edges, leaves)
        below = [tensor for lookup in self._model.lookups for tensor in lookup.below]
        trained = [at for at, tensor in enumerate(below) if tensor.requires_grad]
        _backward([below[at] for at in trained], [leaves[at].grad for at in trained])
        for lookup in self._model.lookups:
            lookup.release()

    def finish(self) -> None:
        super().finish()
        gradients = [(parameter, parameter.grad) for parameter in self._model.parameters()]
        average([parameter for parameter, own in gradients if own is not None and not own.is_sparse])
        if self._summed:
            blocks = zip(*self._summed, strict=True)
            for parameter, block, factor in zip(self._shared, blocks, self._factors, strict=True):
                _add(parameter, combined(block, factor, self._weights_t)[0])
        self._summed = []

    def _leaves(self) -> list[Tensor]:
        return [leaf for lookup in self._model.lookups for leaf in lookup.above]

    def _edges(self, losses: Losses) -> list[GradientEdge]:
        return frontier([losses.each[task] for task in _positions(losses.observed)], self._leaves(), self._dense)


def _backward(roots: Sequence[Any], gradients: Sequence[Tensor | None], to: Sequence[Tensor] | None = None) -> None:
    """From the roots, tensors or edges, that have a gradient; to `to` alone where that is given."""
    known = [(root, gradient) for root, gradient in zip(roots, gradients, strict=True) if gradient is not None]
    if known and (to is None or to):
        torch.autograd.backward([root for root, _ in known], [part for _, part in known], inputs=to)


def _positions(observed_T: Tensor) -> list[int]:
    return [task for task, seen in enumerate(observed_T.tolist()) if seen]


def _dense(parameters: Sequence[nn.Parameter], tables: set[int]) -> list[nn.Parameter]:
    return [p for p in parameters if p.requires_grad and id(p) not in tables]


def _split(found: Sequence[Tensor | None], sizes: Sequence[int]) -> list[list[Tensor | None]]:
    parts, begin = [], 0
    for size in sizes:
        parts.append(list(found[begin : begin + size]))
        begin += size
    return parts


def _over_ranks(parts: Sequence[Sequence[Sequence[Tensor]]]) -> list[list[Tensor]]:
    """Task -> gradient of each parameter, `[1, ...]`, summed over parts and averaged over ranks. Collective."""
    if len(parts) == 1 and distributed.world_size() == 1:
        return [list(blocks) for blocks in parts[0]]
    summed = [
        [torch.stack(of_parts).sum(dim=0) for of_parts in zip(*task, strict=True)] for task in zip(*parts, strict=True)
    ]
    flat = [block.flatten() for blocks in summed for block in blocks]
    if not flat:
        return summed
    mean = distributed.start_sum(torch.cat(flat) / distributed.world_size())()
    parts_of = iter(torch.split(mean, [len(block) for block in flat]))
    return [[next(parts_of).view_as(block) for block in blocks] for blocks in summed]


def _plus(part: Tensor | None, more: Tensor | None, scale: float) -> Tensor | None:
    """`part + scale * more`, `None` counting as zeros; `part` is written over."""
    if more is None:
        return part
    return more * scale if part is None else part.add_(more, alpha=scale)


def _filled(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient


def _add(parameter: nn.Parameter, gradient: Tensor) -> None:
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
