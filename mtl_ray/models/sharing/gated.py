"""What the architectures have in common whose tasks mix experts by softmax gates."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from mtl_ray.batch import Batch
from mtl_ray.models.auxiliary import AuxiliaryLoss
from mtl_ray.models.gate import Gating
from mtl_ray.models.settings import ModelSettings
from mtl_ray.models.sharing.sharing import Encoded, GateKey, Sharing

GATE = "sharing/gate/"
"""Before the name of each gate, `[B, E]`, in what the model gives while training."""


class GatedSettings(ModelSettings):
    """Config fields of the architectures with softmax gates over experts."""

    gate_temperature: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    """Gates are softmax(scores / gate_temperature): below 1 a task settles on fewer experts, above 1 on more."""
    expert_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the experts that a gate leaves out of a row's mixture while training, at least one stays."""
    load_balance: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """Coefficient of a loss that grows where gates use some experts more than others; 0: none."""

    @property
    def _gating(self) -> Gating:
        return Gating(self.gate_temperature, self.expert_dropout)


class GatedSharing(Sharing):
    """Towers read mixtures of experts. `load_balance` is the coefficient of the importance loss of Shazeer et al.
    (Outrageously Large Neural Networks, ICLR 2017, section 4): for each gate the squared coefficient of variation of

        importance_e = sum over the rows of the global batch of gate_e,   CV^2 = E * sum_e (mean gate_e)^2 - 1

    0 where all experts are used alike, E - 1 where all rows use one. Deviations: the mean over the structure's gates
    instead of the sum, so that the coefficient does not depend on their number; padding does not count, sample weights
    neither; the gates are those before expert dropout.
    """

    def __init__(self, load_balance: float) -> None:
        super().__init__()
        self._load_balance = load_balance
        self.auxiliary_names = ("load_balance",) if load_balance else ()

    @abstractmethod
    def mix(self, encoded: Encoded) -> tuple[tuple[Tensor, ...], dict[GateKey, Tensor]]:
        """One input `[B, H_t]` for each task's tower, and the gates `[B, E]` behind them (see `gates`)."""

    def forward(self, encoded: Encoded) -> tuple[Tensor, ...]:
        return self.mix(encoded)[0]

    def gates(self, encoded: Encoded) -> dict[GateKey, Tensor]:
        return self.mix(encoded)[1]

    def inputs(self, encoded: Encoded) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        inputs, gates = self.mix(encoded)
        wanted = self.training and self._load_balance > 0
        return inputs, {f"{GATE}{index}": gate_BE for index, gate_BE in enumerate(gates.values()) if wanted}

    def auxiliary_losses(self, batch: Batch, outputs: Mapping[str, Tensor]) -> dict[str, AuxiliaryLoss]:
        if not self._load_balance:
            return {}
        gates = [gate_BE for name, gate_BE in outputs.items() if name.startswith(GATE)]
        real_B = (batch.row_id >= 0).to(gates[0].dtype)
        importance = torch.cat([real_B @ gate_BE for gate_BE in gates])
        imbalance = partial(_imbalance, [gate_BE.shape[1] for gate_BE in gates], self._load_balance)
        return {"load_balance": AuxiliaryLoss(importance, real_B.sum(), imbalance)}


def _imbalance(sizes: list[int], coefficient: float, means: Tensor) -> Tensor:
    """The coefficient times the mean of CV^2 over the gates, whose means `[E]` stand side by side in `means`."""
    each = [size * mean_E.square().sum() - 1.0 for size, mean_E in zip(sizes, torch.split(means, sizes), strict=True)]
    return coefficient * torch.stack(each).mean()
