"""Tasks compared at the representation that they share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtl_ray import distributed
from mtl_ray.aggregation import Aggregation, TaskGradients
from mtl_ray.batch import Batch
from mtl_ray.models.cut import Cut
from mtl_ray.training.backward.backward import Backward, Compared, Rows, aggregated
from mtl_ray.training.backward.ranks import averaging
from mtl_ray.training.objective import Losses


class RepresentationBackward(Backward):
    """The model is cut where the tasks part. Above, each task's gradient at the cut is taken by a pass of its own; from
    the cut down there is one pass, with their aggregate, and one from the weighted sum through the tasks' own parts:
    both in one call, in which DistributedDataParallel works as ever.

    The rows of all ranks at the cut are those of one batch, so that the inner products over the global batch are the
    sums over ranks: one all-reduce of `[K, T, T]`. What is above the cut and yet several tasks' (an entire-space
    architecture's towers) gets the plain sum, and `next_item` tasks, which lead past the cut, are not compared.
    """

    by_task = True

    def __init__(self, model: nn.Module, cut: Cut, compared: tuple[int, ...], aggregation: Aggregation | None) -> None:
        """
        Args:
            model: a `MultiTaskModel`, or DDP's wrapper of one.
            cut: the model's.
            compared: positions of the tasks that lead through the cut.
        """
        self._model = model
        self._cut = cut
        self._compared = compared
        self._aggregation = aggregation
        self._last = True
        self._tasks: tuple[int, ...] = ()
        self._factors: list[Tensor] = []

    def forward(self, batch: Batch, last: bool) -> dict[str, Tensor]:
        self._last = last
        with self._cut.taken(), averaging(self._model, last):
            outputs: dict[str, Tensor] = self._model(batch)
        return outputs

    def compare(self, losses: Losses, weights_T: Tensor) -> Rows:  # noqa: ARG002
        """A task's gradient at each tensor of the cut, in that tensor's shape."""
        return [self._at_cut(losses.local[task]) for task in self._observed(losses)]

    def settle(self, parts: Sequence[Rows], losses: Losses, weights_T: Tensor) -> Compared:
        self._tasks = self._observed(losses)
        # This rank's rows of the global batch's gradient: DDP's mean over ranks takes the world size out again.
        blocks = [
            torch.cat([self._block(rows, at) for rows in parts], dim=1) / distributed.world_size()
            for at in range(len(self._cut.above))
        ]
        gradients = TaskGradients(blocks, weights_T[list(self._tasks)], self._tasks, split_over_ranks=True)
        compared, self._factors = aggregated(gradients, self._aggregation)
        return compared

    def descend(self, losses: Losses, rows: Rows, weights_T: Tensor) -> None:
        blocks = [self._block(rows, at) for at in range(len(self._cut.above))]
        own = TaskGradients(blocks, weights_T[list(self._tasks)], self._tasks, split_over_ranks=True)
        parts = zip(own.combined(self._factors), self._cut.above, strict=True)
        down = [part.view_as(leaf) for part, leaf in parts]
        if losses.auxiliary.requires_grad:
            added = self._at_cut(losses.auxiliary.sum())
            down = [part + more for part, more in zip(down, added, strict=True)]
        total = torch.dot(losses.local, weights_T.to(losses.local.dtype)) + losses.auxiliary.sum()
        roots = [(tensor, part) for tensor, part in zip(self._cut.below, down, strict=True) if tensor.requires_grad]
        with averaging(self._model, self._last):
            torch.autograd.backward([total, *(root for root, _ in roots)], [None, *(part for _, part in roots)])
        self._cut.release()

    def _observed(self, losses: Losses) -> tuple[int, ...]:
        observed = losses.observed.tolist()
        return tuple(task for task in self._compared if observed[task])

    def _block(self, rows: Rows, at: int) -> Tensor:
        """`[T, rows, C]` of one tensor of the cut."""
        leaf = self._cut.above[at]
        if not rows:
            return leaf.new_zeros(0, len(leaf), leaf[0].numel())
        return torch.stack([row[at].flatten(1) for row in rows])

    def _at_cut(self, loss: Tensor) -> list[Tensor]:
        leaves = self._cut.above
        found = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(leaf) if own is None else own for own, leaf in zip(found, leaves, strict=True)]
