"""Counterfactual regularisers on an entire-space model: Wang et al., ESCM2: Entire Space Counterfactual Multi-Task
Model for Post-Click Conversion Rate Estimation, SIGIR 2022."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.models.auxiliary import AuxiliaryLoss, population_weight
from mtl_ray.models.entire_space import EntireSpace
from mtl_ray.models.sharing.esmm import EntireSpaceSettings
from mtl_ray.models.sharing.sharing import Sharing, parameters_of
from mtl_ray.models.tower import Tower
from mtl_ray.tasks import Task
from mtl_ray.tasks.graph import TaskGraph


class ESCM2Config(EntireSpaceSettings):
    """`model: {name: escm2, method: dr}`."""

    name: Literal["escm2"] = "escm2"
    method: Literal["ips", "dr"] = "dr"
    """ips: inverse propensity scores; dr: doubly robust, with an imputation tower for each task that has `given`."""
    regulariser_weight: float = Field(default=0.1, ge=0.0, allow_inf_nan=False)
    """Coefficient of the IPS or DR loss, beside the task's weight."""
    imputation_weight: float = Field(default=0.1, gt=0.0, allow_inf_nan=False)
    """Coefficient of the loss that the imputation tower learns from."""
    min_propensity: float = Field(default=0.01, gt=0.0, lt=1.0)
    """Predicted propensities below are taken as this: no row counts more than 1 / min_propensity times."""

    def build_outputs(self, sharing: Sharing, tasks: Mapping[str, Task], graph: TaskGraph) -> CounterfactualOutputs:
        imputation = {}
        if self.method == "dr":
            for index, name in enumerate(graph.names):
                if graph.parents[index]:
                    imputation[name] = self._tower(sharing.out_sizes[index], torch.zeros(1))
        return CounterfactualOutputs(
            tasks, graph, imputation, self.regulariser_weight, self.imputation_weight, self.min_propensity
        )


class CounterfactualOutputs(EntireSpace):
    """ESMM with a loss on each conditional rate. For a task t with ancestors, over the rows D in which its label and
    theirs are observed: o = 1 where all ancestors' labels are 1, p the predicted probability of that (the propensity),
    e the task's loss at the tower's own logit, e' what the imputation tower says of it.

        IPS         mean over D of  o e / p
        DR          mean over D of  e' + o (e - e') / p
        imputation  mean over D of  o (e - e')^2 / p

    Deviations: a graph in place of click and conversion; p is bounded from below, and is a constant to these losses, as
    e is to the imputation loss (a propensity must not grow because a conversion is hard to predict, nor an error
    because it is hard to impute); e' = softplus(tower), as an error is not negative. Class weights of the task have no
    part in e. Coefficients are times the task's weight in the config.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        graph: TaskGraph,
        imputation: Mapping[str, Tower],
        regulariser_weight: float,
        imputation_weight: float,
        min_propensity: float,
    ) -> None:
        super().__init__(tasks, graph)
        self.imputation = nn.ModuleDict({f"task_{name}": tower for name, tower in imputation.items()})
        self._regulariser_weight = regulariser_weight
        self._imputation_weight = imputation_weight
        self._min_propensity = min_propensity
        serial = [name for index, name in enumerate(graph.names) if graph.parents[index]]
        kinds = ("dr", "imputation") if imputation else ("ips",)
        self.auxiliary_names = tuple(f"{name}/{kind}" for name in serial for kind in kinds)

    def forward(self, inputs: Sequence[Tensor], logits: dict[str, Tensor]) -> dict[str, Tensor]:
        """While training, with the towers' own logits under `<task>/conditional` and what the imputation towers say
        under `<task>/imputed`, `[B, 1]` each."""
        outputs = super().forward(inputs, logits)
        if not self.training:
            return outputs
        for index, name in enumerate(self.graph.names):
            outputs[f"{name}/conditional"] = logits[name]
            if f"task_{name}" in self.imputation:
                outputs[f"{name}/imputed"] = F.softplus(self.imputation[f"task_{name}"](inputs[index]))
        return outputs

    def auxiliary_losses(self, batch: Batch, logits: Mapping[str, Tensor]) -> dict[str, AuxiliaryLoss]:
        log_rates = self.log_rates({name: logits[f"{name}/conditional"] for name in self.graph.names})
        row_weight_B = population_weight(batch, self.tasks)
        losses: dict[str, AuxiliaryLoss] = {}
        for index, name in enumerate(self.graph.names):
            if self.graph.parents[index]:
                losses |= self._of_task(index, name, batch, logits, log_rates, row_weight_B)
        return losses

    def task_parameters(self, index: int) -> list[nn.Parameter]:
        name = f"task_{self.graph.names[index]}"
        return parameters_of(self.imputation[name]) if name in self.imputation else []

    def _of_task(
        self,
        index: int,
        name: str,
        batch: Batch,
        logits: Mapping[str, Tensor],
        log_rates: Mapping[int, Tensor],
        row_weight_B: Tensor,
    ) -> dict[str, AuxiliaryLoss]:
        ancestors = self.graph.ancestors(index)
        columns = list(ancestors)
        error_B = self.tasks[name].loss(logits[f"{name}/conditional"], batch.labels[:, index], batch.task_inputs)
        in_space_B = batch.observed[:, index] & batch.observed[:, columns].all(dim=1)
        own_B = self.tasks[name].row_weight(batch.task_inputs)
        weight_B = torch.where(in_space_B, row_weight_B if own_B is None else row_weight_B * own_B, 0.0)
        weight_B = weight_B.to(error_B.dtype)
        reached_B = (batch.labels[:, columns] > 0.5).all(dim=1).to(error_B.dtype)
        log_propensity_B = torch.stack([log_rates[ancestor] for ancestor in ancestors]).sum(dim=0).squeeze(-1)
        inverse_B = reached_B / log_propensity_B.detach().exp().clamp(min=self._min_propensity)
        task_weight = self.tasks[name].config.weight
        total = weight_B.sum()

        def mean(coefficient: float, row_loss_B: Tensor) -> AuxiliaryLoss:
            return AuxiliaryLoss(coefficient * task_weight * torch.dot(weight_B, row_loss_B), total)

        if not self.imputation:
            return {f"{name}/ips": mean(self._regulariser_weight, inverse_B * error_B)}
        imputed_B = logits[f"{name}/imputed"].to(error_B.dtype).squeeze(-1)
        robust_B = imputed_B + inverse_B * (error_B - imputed_B)
        missed_B = inverse_B * (error_B.detach() - imputed_B).square()
        return {
            f"{name}/dr": mean(self._regulariser_weight, robust_B),
            f"{name}/imputation": mean(self._imputation_weight, missed_B),
        }
