"""Recurrent networks over the entries that are present."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from mtl_ray.models.encoders.ages import AgeEmbedding
from mtl_ray.models.encoders.sequences.masked import zero_if_empty
from mtl_ray.models.encoders.sequences.sequence import History, HistorySize, SequenceSettings


class RecurrentSettings(SequenceSettings, ABC):
    """What GRU and LSTM have in common."""

    hidden: PositiveInt | None = None
    """Size of the state; null: that of an entry."""
    layers: int = Field(default=1, ge=1)


class Recurrent(nn.Module, ABC):
    """The state of the last layer after the newest entry, `[B, W]`; from another size than W by a linear map.

    A row's state must not run on over padding in front, or stop at an entry that is absent. So the present entries are
    moved to the front, in their order, the network runs over all L places, and the state is taken at the last present
    one: what stands behind it has no effect on it. Ages are added to the entries as an embedding.

    The weights are those of `torch.nn.GRU` and `torch.nn.LSTM`, in their order and with their initialisation. Those
    modules themselves cannot be compiled into one graph (torch 2.13), the functions under them can.
    """

    gates: int

    def __init__(self, config: RecurrentSettings, size: HistorySize) -> None:
        super().__init__()
        self.hidden = config.hidden or size.width
        self.layers = config.layers
        self.age_embedding = AgeEmbedding(size.width, size.std) if size.has_ages else None
        self.weights = nn.ParameterList()
        bound = self.hidden**-0.5
        for layer in range(config.layers):
            rows = self.gates * self.hidden
            inputs = size.width if layer == 0 else self.hidden
            for shape in ((rows, inputs), (rows, self.hidden), (rows,), (rows,)):
                self.weights.append(nn.Parameter(torch.empty(shape).uniform_(-bound, bound)))
        self.out = nn.Linear(self.hidden, size.width) if self.hidden != size.width else None

    @abstractmethod
    def run(self, x_BLW: Tensor, start_NBH: Tensor) -> Tensor:
        """States of the last layer at each place, `[B, L, H]`, from zeros `[layers, B, H]`."""

    def forward(self, history: History) -> Tensor:
        entries_BLW, present_BL = history.entries, history.present
        if self.age_embedding is not None:
            entries_BLW = entries_BLW + self.age_embedding(history.ages)
        order_BL = torch.argsort((~present_BL).to(torch.int32), dim=1, stable=True)
        moved_BLW = entries_BLW.gather(1, order_BL.unsqueeze(-1).expand_as(entries_BLW))
        # Errors of bfloat16 would add up along a history, and CPUs without instructions for it refuse an LSTM of it.
        with torch.autocast(moved_BLW.device.type, enabled=False):
            states_BLH = self.run(moved_BLW, moved_BLW.new_zeros(self.layers, moved_BLW.shape[0], self.hidden))
        last_B = present_BL.sum(dim=1).clamp(min=1) - 1
        state_BH = states_BLH.gather(1, last_B.view(-1, 1, 1).expand(-1, 1, self.hidden)).squeeze(1)
        return zero_if_empty(state_BH if self.out is None else self.out(state_BH), present_BL)
