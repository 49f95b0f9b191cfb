"""One backward pass from the weighted sum of the losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.training.backward.backward import Backward
from mtl_ray.training.objective import Losses


class PlainBackward(Backward):
    """DistributedDataParallel, where there is one, averages the gradients."""

    by_task = False

    def __init__(self, model: nn.Module) -> None:
        """`model`: a `MultiTaskModel`, or DDP's wrapper of one."""
        self._model = model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = self._model(batch)
        return outputs

    def __call__(self, losses: Losses, weights_T: Tensor) -> None:
        total = torch.dot(losses.local, weights_T.to(losses.local.dtype)) + losses.auxiliary.sum()
        torch.autograd.backward(total)
