"""One backward pass from the weighted sum of the losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.training.backward.backward import Backward, Rows
from mtl_ray.training.backward.ranks import averaging
from mtl_ray.training.backward.row_exchange import RowExchange
from mtl_ray.training.objective import Losses


class PlainBackward(Backward):
    """DistributedDataParallel, where there is one, averages the gradients."""

    by_task = False

    def __init__(self, model: nn.Module, exchange_rows: RowExchange) -> None:
        """
        Args:
            model: a `MultiTaskModel`, or DDP's wrapper of one.
            exchange_rows: of the tables with sparse gradients.
        """
        super().__init__(exchange_rows)
        self._model = model
        self._last = True

    def forward(self, batch: Batch, last: bool) -> dict[str, Tensor]:
        self._last = last
        with averaging(self._model, last):
            outputs: dict[str, Tensor] = self._model(batch)
        return outputs

    def descend(self, losses: Losses, rows: Rows, weights_T: Tensor) -> None:  # noqa: ARG002
        total = torch.dot(losses.local, weights_T.to(losses.local.dtype)) + losses.auxiliary.sum()
        with averaging(self._model, self._last):
            torch.autograd.backward(total)
