"""Long short-term memory: Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al. (2000)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mtl_ray.models.encoders.sequences.recurrent import Recurrent, RecurrentSettings
from mtl_ray.models.encoders.sequences.sequence import HistorySize


class LSTMConfig(RecurrentSettings):
    """`sequences: {watched: lstm}`."""

    name: Literal["lstm"] = "lstm"

    def build(self, size: HistorySize) -> LSTM:
        return LSTM(self, size)


class LSTM(Recurrent):
    """The cell of `torch.nn.LSTM`; cell states start at 0 too."""

    gates = 4

    def run(self, x_BLW: Tensor, start_NBH: Tensor) -> Tensor:
        weights, start = list(self.weights), (start_NBH, start_NBH)
        states_BLH, _, _ = torch.lstm(x_BLW, start, weights, True, self.layers, 0.0, self.training, False, True)
        return states_BLH
