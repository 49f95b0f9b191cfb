"""How much one task's part of a step on the shared parameters lowers each task's loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from mtl_ray import distributed
from mtl_ray.batch import Batch
from mtl_ray.models import MultiTaskModel
from mtl_ray.training.affinity.lookahead import moved, step_scales
from mtl_ray.training.buffers import buffers_put_back
from mtl_ray.training.passes import LossesOf, Passes, PassesWithLosses, random_state, restore_random_state


class AffinityMeter:
    """Affinity of task i onto task j in one step (Fifty et al. 2021, equation 1):

        Z_ij = (L_j - L_j|i) / |L_j|

    L_j is the loss on the global batch, and L_j|i that on the same batch, with the same dropout, after the shared
    parameters, dense ones and embedding tables, have taken task i's part of the coming step: its gradient times what
    the step multiplies it by (task weight, clipping, `step_scales`). No task's own parameters move. The divisor is
    1 - L_j|i / L_j of the paper for losses above 0, and keeps the sign for those that can fall below.

    What a measurement moves is put back: parameters, buffers (a batch norm's statistics), random numbers. It costs one
    forward pass, and for each task a backward and a forward pass, and memory for three times the shared parameters.
    Losses in float32 do not show affinities below about 1e-7.
    """

    def __init__(
        self, model: MultiTaskModel, optimizer: Optimizer, losses_of: LossesOf, parts: Sequence[Batch]
    ) -> None:
        """Built before the step's forward pass: dropout repeats the random numbers from here on.

        Args:
            losses_of: runs the model itself, not DistributedDataParallel's wrapper.
            parts: of this rank's rows of the global batch.
        """
        self._model = model
        self._optimizer = optimizer
        self._losses_of = losses_of
        self._parts = parts
        self._begin = random_state()
        self._shared = [parameter for parameter in model.shared_parameters() if parameter.requires_grad]
        self.affinity: Tensor | None = None
        """What `measure` found, float64 `[T, T]` on the CPU, equal on all ranks: row i is task i's step. NaN where
        either task has no label in the batch, or the loss is 0 or no number."""

    def measure(self, weights_T: Tensor, factor: Tensor | float) -> None:
        """Called between the gradients and the update. Collective.

        Args:
            weights_T: what the step multiplies the tasks' losses by.
            factor: what clipping multiplied all gradients by.
        """
        kept = random_state()
        with buffers_put_back(self._model):
            affinity_TT = self._measured(weights_T, factor)
        restore_random_state(kept)
        self.affinity = torch.where(affinity_TT.isfinite(), affinity_TT, torch.nan)

    def _measured(self, weights_T: Tensor, factor: Tensor | float) -> Tensor:
        restore_random_state(self._begin)
        passes = PassesWithLosses(self._losses_of, self._parts)
        before_T = passes.whole.double()
        scales = [scale * factor for scale in step_scales(self._optimizer, self._shared)]
        rows = []
        for task, observed in enumerate(passes.observed.tolist()):
            if not observed:
                rows.append(torch.full_like(before_T, torch.nan))
                continue
            weight = float(weights_T[task])
            steps = [part * scale * weight for part, scale in zip(self._gradients(passes, task), scales, strict=True)]
            with moved(self._shared, steps):
                restore_random_state(self._begin)
                after_T = passes.whole_now().double()
            rows.append((before_T - after_T) / before_T.abs())
        return torch.stack(rows).cpu()

    def _gradients(self, passes: Passes, task: int) -> list[Tensor]:
        """Of the global batch's loss, by shared parameter."""
        total = [torch.zeros_like(parameter) for parameter in self._shared]
        for losses in passes.again():
            loss = losses.each[task]
            if not (self._shared and loss.requires_grad):
                continue
            found = torch.autograd.grad(loss, self._shared, retain_graph=True, allow_unused=True)
            for part, gradient in zip(total, found, strict=True):
                if gradient is not None:
                    part += gradient
        pending = [distributed.start_sum(part.div_(distributed.world_size())) for part in total]
        return [wait() for wait in pending]
