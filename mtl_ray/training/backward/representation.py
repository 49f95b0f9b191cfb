"""Tasks compared at the representation that they share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtl_ray import distributed
from mtl_ray.aggregation import Aggregation, TaskGradients, combined
from mtl_ray.batch import Batch
from mtl_ray.models.cut import Cut
from mtl_ray.training.backward.backward import Backward, Compared, Row, Rows, aggregated
from mtl_ray.training.backward.ranks import averaging
from mtl_ray.training.backward.row_exchange import RowExchange
from mtl_ray.training.objective import Losses


class RepresentationBackward(Backward):
    """The model is cut where the tasks part. Above, each task has a pass of its own, which gives its gradient at the
    cut and those of the parameters on the way. Below there is one pass, from the aggregate at the cut; the parameters
    above are roots of the same call with the gradients that they have, so that DistributedDataParallel works as ever.

    The rows of all ranks at the cut are those of one batch, so that the inner products over the global batch are the
    sums over ranks: one all-reduce of `[K, T, T]`. What is above the cut and yet several tasks' (an entire-space
    architecture's towers) gets the plain sum. `next_item` tasks, which lead past the cut, are not compared: with what
    an architecture adds to the losses, they are differentiated in that call too.
    """

    by_task = True

    def __init__(
        self,
        model: nn.Module,
        exchange_rows: RowExchange,
        cut: Cut,
        compared: tuple[int, ...],
        aggregation: Aggregation | None,
    ) -> None:
        """
        Args:
            model: a `MultiTaskModel`, or DDP's wrapper of one.
            exchange_rows: of the tables with sparse gradients.
            cut: the model's.
            compared: positions of the tasks that lead through the cut.
        """
        super().__init__(exchange_rows)
        self._model = model
        self._cut = cut
        self._compared = compared
        self._aggregation = aggregation
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._last = True
        self._tasks: tuple[int, ...] = ()
        self._factors: list[Tensor] = []

    def forward(self, batch: Batch, last: bool) -> dict[str, Tensor]:
        self._last = last
        with self._cut.taken(), averaging(self._model, last):
            outputs: dict[str, Tensor] = self._model(batch)
        return outputs

    def compare(self, losses: Losses, weights_T: Tensor) -> Rows:  # noqa: ARG002
        """A task's gradient at each tensor of the cut, beside those of all parameters, where it leads to them."""
        rows = []
        for task in self._observed(losses.observed):
            found = self._gradients(losses.each[task], [*self._cut.above, *self._parameters])
            leaves = zip(found, self._cut.above, strict=False)
            at_cut = [torch.zeros_like(leaf) if own is None else own for own, leaf in leaves]
            rows.append(Row(at_cut, found[len(at_cut) :]))
        return rows

    def settle(self, parts: Sequence[Rows], observed_T: Tensor, weights_T: Tensor) -> Compared:
        self._tasks = self._observed(observed_T)
        at_cut = [[row.compared for row in rows] for rows in parts]
        # This rank's rows of the global batch's gradient: DDP's mean over ranks takes the world size out again.
        gradients = TaskGradients(
            at_cut,
            len(self._cut.above),
            weights_T[list(self._tasks)],
            self._tasks,
            split_over_ranks=True,
            scale=1.0 / distributed.world_size(),
        )
        compared, self._factors = aggregated(gradients, self._aggregation)
        return compared

    def descend(self, losses: Losses, rows: Rows, weights_T: Tensor) -> None:
        roots: list[tuple[Tensor, Tensor | None]] = []
        for tensor, down in zip(self._cut.below, self._down(losses, rows, weights_T), strict=True):
            if tensor.requires_grad:
                roots.append((tensor, down))
        for at, parameter in enumerate(self._parameters):
            own = [(task, row.beside[at]) for task, row in zip(self._tasks, rows, strict=True)]
            parts = [part * weights_T[task].to(part.dtype) for task, part in own if part is not None]
            if parts:
                roots.append((parameter, torch.stack(parts).sum(dim=0) if len(parts) > 1 else parts[0]))
        rest = self._rest(losses, weights_T)
        if rest is not None:
            roots.append((rest, None))
        with averaging(self._model, self._last):
            torch.autograd.backward([root for root, _ in roots], [part for _, part in roots])
        self._cut.release()

    def _down(self, losses: Losses, rows: Rows, weights_T: Tensor) -> list[Tensor]:
        """What each tensor of the cut gets."""
        weights_t = weights_T[list(self._tasks)]
        if rows:
            blocks = zip(*(row.compared for row in rows), strict=True)
            down = [combined(block, factor, weights_t) for block, factor in zip(blocks, self._factors, strict=True)]
        else:
            down = [torch.zeros_like(leaf) for leaf in self._cut.above]
        if losses.auxiliary.requires_grad:
            added = self._gradients(losses.auxiliary.sum(), self._cut.above)
            for part, more in zip(down, added, strict=True):
                if more is not None:
                    part += more
        return down

    def _rest(self, losses: Losses, weights_T: Tensor) -> Tensor | None:
        """What else is to be differentiated: the tasks that are not compared, those without a label among them (they
        give their parameters zeros), and what the architecture adds."""
        others = [task for task in range(len(losses.each)) if task not in self._tasks]
        rest = losses.auxiliary.sum()
        if others:
            rest = rest + torch.dot(losses.local[others], weights_T[others].to(losses.local.dtype))
        return rest if rest.requires_grad else None

    def _observed(self, observed_T: Tensor) -> tuple[int, ...]:
        observed = observed_T.tolist()
        return tuple(task for task in self._compared if observed[task])

    def _gradients(self, loss: Tensor, wanted: Sequence[Tensor]) -> Sequence[Tensor | None]:
        return torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
