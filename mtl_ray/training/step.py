"""One optimizer step on one global batch."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mtl_ray import distributed
from mtl_ray.aggregation import Aggregation, Place
from mtl_ray.batch import Batch
from mtl_ray.errors import DivergedError
from mtl_ray.models import MultiTaskModel
from mtl_ray.models.auxiliary import AuxiliaryLoss
from mtl_ray.tasks import Task
from mtl_ray.tasks.losses import TaskLosses, task_losses, training_weights
from mtl_ray.training.affinity import AffinityMeter
from mtl_ray.training.backward import NonFiniteGradient, build_backward
from mtl_ray.training.balance_record import BalanceRecord
from mtl_ray.training.buffers import buffers_put_back
from mtl_ray.training.clip import clip_gradients
from mtl_ray.training.passes import Passes, PassesWithLosses, PassesWithoutLosses
from mtl_ray.training.profile import BACKWARD, CLIP, EXCHANGE, FORWARD, span
from mtl_ray.training.skipped import SkippedSteps
from mtl_ray.weighting import StepLosses, Weighting


class LossTotals:
    """Loss sums and weights per task since the last reset; exact over any number of batches and ranks."""

    def __init__(self, tasks: Collection[str], device: torch.device) -> None:
        self._tasks = tuple(tasks)
        self._totals = torch.zeros(2, len(tasks), dtype=torch.float64, device=device)

    def add(self, sums: Tensor, weights: Tensor) -> None:
        """Add one batch of this rank: sums and weights `[T]`."""
        self._totals += torch.stack([sums.detach(), weights.detach()]).double()

    def restore(self, totals: Tensor) -> None:
        """Begin with what `gather_on_first` gave. Every rank calls it."""
        self._totals.zero_()
        if distributed.rank() == 0:
            self._totals.copy_(totals)

    def gather_on_first(self) -> Tensor:
        """Sums and weights over all ranks, float64 `[2, T]`, from now on held by rank 0 alone. Collective.

        So a training that goes on from a checkpoint adds up in the order of one that was never stopped.
        """
        totals = distributed.start_sum(self._totals.clone())()
        self.restore(totals)
        return totals

    def means(self) -> dict[str, float]:
        """Mean loss per task over all ranks; NaN where nothing was observed. Collective.

        Raises DivergedError, on all ranks alike, where the loss of observed rows is not finite.
        """
        totals = distributed.start_sum(self._totals.clone())()
        means = {}
        for task, total, weight in zip(self._tasks, *totals.tolist(), strict=True):
            means[task] = total / weight if weight > 0 else math.nan
            if weight > 0 and not math.isfinite(means[task]):
                raise DivergedError(
                    f"Training diverged: the loss of {task} is {means[task]}.\n"
                    "  fix:     a smaller training.optimizer.learning_rate, a smaller training.clip_norm, "
                    "or training.precision=fp32"
                )
        return means

    def reset(self) -> None:
        """Forget everything."""
        self._totals.zero_()


class TrainStep:
    """Forward, loss, backward and update.

    The gradient is that of the weighted sum over tasks of (loss summed over all ranks' observed rows / number of
    observed rows over all ranks): each rank scales its sum by world_size / global count, and the mean over ranks takes
    the world size out again. With an aggregation, what the tasks share learns from the aggregate of the tasks' weighted
    gradients instead of their sum. The losses that an architecture adds are normalised alike and come on top,
    unweighted. `clip_norm` is of the model's gradients; a learnt weighting's parameters are not clipped.

    Where tasks' gradients are looked at by themselves and one of them, or its loss, is not finite, the step is left
    out and counted.

    Attributes:
        totals: losses since the last reset, those of the tasks first, then the auxiliary ones as `auxiliary/<name>`.
        epoch_totals: the same, to be reset by the epoch.
        balance: what was seen of the tasks' gradients since the last reset.
        skipped: steps that were left out.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        tasks: Mapping[str, Task],
        weighting: Weighting,
        optimizer: Optimizer,
        schedule: LRScheduler,
        clip_norm: float | None,
        precision: str,
        device: torch.device,
        aggregation: Aggregation | None = None,
        on: Place = "representation",
        max_skipped_steps: int = 10,
        accumulate: int = 1,
    ) -> None:
        """Every rank builds it at once: with several, `model` comes under DistributedDataParallel.

        Args:
            on: where the tasks' gradients are compared, if they are.
            max_skipped_steps: how many steps in a row may be left out.
            accumulate: number of parts that this rank's rows go through the model in, one after the other.
        """
        self.model = model
        self.tasks = tasks
        self.weighting = weighting
        self.optimizer = optimizer
        self.schedule = schedule
        self.clip_norm = clip_norm
        self.precision = precision
        self.device = device
        self._parts = accumulate
        self._backwards = build_backward(model, aggregation, on, weighting.needs_norms)
        self._backward = self._backwards.plain
        # No task's name has a slash, so that none can be an auxiliary loss's.
        names = (*tasks, *(f"auxiliary/{name}" for name in model.auxiliary_names))
        self.totals = LossTotals(names, device)
        self.epoch_totals = LossTotals(names, device)
        self.balance = BalanceRecord(tuple(tasks))
        self.skipped = SkippedSteps(tuple(tasks), max_skipped_steps)

    def __call__(self, batch: Batch, measure: bool = False) -> Tensor | None:
        """Take one step. Collective: every rank calls it with its share of the same global batch.

        Args:
            measure: look at how the tasks' parts of the step would change each other's losses.

        Returns:
            `AffinityMeter.affinity` `[T, T]` of a measured step; None where the step was left out or not measured.

        Raises DivergedError, on all ranks alike, where too many steps in a row had to be left out.
        """
        batch = to_precision(batch, self.device, self.precision)
        self.optimizer.zero_grad(set_to_none=True)
        began = time.perf_counter()
        wants_norms = self.weighting.wants_norms
        self._backward = self._backwards.looking if wants_norms else self._backwards.plain
        parts = batch.parts(self._parts) if self._parts > 1 else [batch]
        meter = AffinityMeter(self.model, self.optimizer, self._own_losses_of, parts) if measure else None
        with span(FORWARD):
            passes = self._passes(parts)
        whole = StepLosses(passes.whole.double(), passes.observed)
        if self._learn(passes, whole, meter, wants_norms):
            self.schedule.step()
            for sums, weights in passes.counted:
                self.totals.add(sums, weights)
                self.epoch_totals.add(sums, weights)
            self.weighting.end_step(whole)
            if not measure:
                self.balance.took(time.perf_counter() - began)
            if self.weighting.wants_losses_after:
                self.weighting.losses_after(self._losses_after(passes))
        return None if meter is None else meter.affinity

    def _passes(self, parts: Sequence[Batch]) -> Passes:
        """The same kind on all ranks. Collective."""
        if self.weighting.reads_losses or self._backward.by_task or self.model.auxiliary_names:
            return PassesWithLosses(self._losses_of, parts)
        return PassesWithoutLosses(self._losses_of, parts, self._weights_of)

    def _weights_of(self, part: Batch) -> Tensor:
        return torch.stack([weight_B.sum() for weight_B in training_weights(part, self.tasks)])

    def _losses_of(self, part: Batch, last: bool, graph: bool) -> tuple[TaskLosses, tuple[AuxiliaryLoss, ...]]:
        """This rank's part of each loss, from rows of one part; without `graph` the model alone runs."""
        if not graph:
            return self._own_losses_of(part, last, graph)
        with autocast(self.device, self.precision):
            logits = self._backward.forward(part, last)
        return self._losses(part, logits)

    def _own_losses_of(self, part: Batch, last: bool, graph: bool) -> tuple[TaskLosses, tuple[AuxiliaryLoss, ...]]:  # noqa: ARG002
        """The same by the model alone, with `graph` too."""
        with nullcontext() if graph else torch.no_grad():
            with autocast(self.device, self.precision):
                logits = self.model(part)
            return self._losses(part, logits)

    def _losses(self, part: Batch, logits: Mapping[str, Tensor]) -> tuple[TaskLosses, tuple[AuxiliaryLoss, ...]]:
        added = tuple(self.model.auxiliary_losses(part, logits).values())
        return task_losses(logits, part, self.tasks), added

    def _learn(self, passes: Passes, whole: StepLosses, meter: AffinityMeter | None, wants_norms: bool) -> bool:
        """Gradients and update, and between them the measurement; False where the step was left out."""
        backward = self._backward
        if backward.by_task and not self.skipped.check_losses(whole):
            return False
        weights_T = self.weighting(whole)
        with span(BACKWARD):
            if backward.by_task:
                rows = [backward.compare(losses, weights_T) for losses in passes.again()]
            else:
                rows = [()] * len(passes)
            try:
                compared = backward.settle(rows, passes.observed, weights_T)
            except NonFiniteGradient as found:
                self.optimizer.zero_grad(set_to_none=True)
                self.skipped.count(found.task, "gradient")
                return False
            for losses, own in zip(passes.again(), rows, strict=True):
                backward.descend(losses, own, weights_T)
        with span(EXCHANGE):
            backward.finish()
        if compared is not None:
            self.balance.add(compared)
        norms_T = None
        if compared is not None and wants_norms:
            norms_T = compared.norms(len(self.tasks)).to(self.device)
        objective = self.weighting.objective(whole, norms_T)
        if objective is not None:
            torch.autograd.backward(objective)
        factor = self._clip()
        if meter is not None:
            meter.measure(weights_T.detach(), factor)
        self._update(passes.observed)
        self.skipped.reset()
        return True

    def _clip(self) -> Tensor | float:
        """What the gradients were multiplied by."""
        if self.clip_norm is None:
            return 1.0
        with span(CLIP):
            return clip_gradients(self.model.parameters(), self.clip_norm)

    @torch.no_grad()
    def _update(self, observed_T: Tensor) -> None:
        before = [parameter.clone() for parameter in self.weighting.parameters()]
        self.optimizer.step()
        for parameter, old_T in zip(self.weighting.parameters(), before, strict=True):
            # A zero gradient would not be enough: the optimizer goes on by its momentum.
            parameter.copy_(torch.where(observed_T, parameter, old_T))

    def _losses_after(self, passes: Passes) -> StepLosses:
        with buffers_put_back(self.model):
            return StepLosses(passes.whole_now().double(), passes.observed)


def to_precision(batch: Batch, device: torch.device, precision: str) -> Batch:
    """The batch on `device`, floats in float64 for fp64 and float32 otherwise."""
    return batch.to(device, torch.float64 if precision == "fp64" else None)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """bf16 autocast where it is asked for."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
