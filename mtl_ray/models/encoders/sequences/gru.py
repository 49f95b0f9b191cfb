"""Gated recurrent unit: Cho et al., EMNLP 2014; over sessions: Hidasi et al., ICLR 2016."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mtl_ray.models.encoders.sequences.recurrent import Recurrent, RecurrentSettings
from mtl_ray.models.encoders.sequences.sequence import HistorySize


class GRUConfig(RecurrentSettings):
    """`sequences: {watched: gru}`."""

    name: Literal["gru"] = "gru"

    def build(self, size: HistorySize) -> GRU:
        return GRU(self, size)


class GRU(Recurrent):
    """The cell of `torch.nn.GRU`, whose reset gate acts after the recurrent product."""

    gates = 3

    def run(self, x_BLW: Tensor, start_NBH: Tensor) -> Tensor:
        weights = list(self.weights)
        states_BLH, _ = torch.gru(x_BLW, start_NBH, weights, True, self.layers, 0.0, self.training, False, True)
        return states_BLH
