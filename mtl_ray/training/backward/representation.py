"""Tasks compared at the representation that they share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtl_ray import distributed
from mtl_ray.aggregation import Aggregation, TaskGradients
from mtl_ray.batch import Batch
from mtl_ray.models.cut import Cut
from mtl_ray.training.backward.backward import Backward, Compared, aggregated
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

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        with self._cut.taken():
            outputs: dict[str, Tensor] = self._model(batch)
        return outputs

    def __call__(self, losses: Losses, weights_T: Tensor) -> Compared:
        observed = losses.observed.tolist()
        tasks = tuple(task for task in self._compared if observed[task])
        leaves, below = self._cut.above, self._cut.below
        rows = [self._at_cut(losses.local[task]) for task in tasks]
        # This rank's rows of the global batch's gradient: DDP's mean over ranks takes the world size out again.
        size = distributed.world_size()
        blocks = [
            torch.stack([row[at].flatten(1) for row in rows]) / size
            if rows
            else leaf.new_zeros(0, len(leaf), leaf[0].numel())
            for at, leaf in enumerate(leaves)
        ]
        gradients = TaskGradients(blocks, weights_T[list(tasks)], tasks, split_over_ranks=True)
        compared, factors = aggregated(gradients, self._aggregation)
        down = [part.view_as(leaf) * size for part, leaf in zip(gradients.combined(factors), leaves, strict=True)]
        if losses.auxiliary.requires_grad:
            added = self._at_cut(losses.auxiliary.sum())
            down = [part + own for part, own in zip(down, added, strict=True)]
        total = torch.dot(losses.local, weights_T.to(losses.local.dtype)) + losses.auxiliary.sum()
        roots = [(tensor, part) for tensor, part in zip(below, down, strict=True) if tensor.requires_grad]
        torch.autograd.backward([total, *(root for root, _ in roots)], [None, *(part for _, part in roots)])
        self._cut.release()
        return compared

    def _at_cut(self, loss: Tensor) -> list[Tensor]:
        leaves = self._cut.above
        found = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(leaf) if own is None else own for own, leaf in zip(found, leaves, strict=True)]
