"""Target attention: Zhou et al., Deep Interest Network for Click-Through Rate Prediction, KDD 2018."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from mtl_ray.models.encoders.ages import AgeEmbedding
from mtl_ray.models.encoders.sequences.masked import softmax_of_present, weighted_sum
from mtl_ray.models.encoders.sequences.sequence import History, HistorySize, TargetSettings
from mtl_ray.models.mlp import MLP, Activation


class DINConfig(TargetSettings):
    """`sequences: {watched: {name: din, target: {watched: item_id}}}`."""

    name: Literal["din"] = "din"
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (36,)
    """Hidden sizes of the activation unit."""
    activation: Activation = "relu"
    """Of the activation unit. Dice, the paper's, is not offered: its statistics of the batch would differ between one
    worker and many."""
    softmax: bool = False
    """Normalise the weights over the history; false, as in the paper: the sum keeps how strong an interest is."""

    def build(self, size: HistorySize) -> DIN:
        return DIN(self, size)


class DIN(nn.Module):
    """sum_l a(e_l, t) e_l with the activation unit a: an MLP over [e, t, e - t, e * t] (figure 2 and equation 3).

    Deviations: the difference and the product stand for the outer product of the figure, as in the authors' code; ages
    are added to the entries as an embedding. Without softmax the weights start next to 1 / L, so that the untrained
    encoder is about a mean.
    """

    def __init__(self, config: DINConfig, size: HistorySize) -> None:
        super().__init__()
        self.age_embedding = AgeEmbedding(size.width, size.std) if size.has_ages else None
        self.unit = MLP(4 * size.width, config.hidden, config.activation)
        # A bias moves no softmax.
        self.weigh = nn.Linear(self.unit.out_size, 1, bias=not config.softmax)
        nn.init.normal_(self.weigh.weight, std=self.unit.out_size**-0.5)
        if not config.softmax:
            nn.init.constant_(self.weigh.bias, 1.0 / size.length)
        self._softmax = config.softmax

    def forward(self, history: History) -> Tensor:
        entries_BLW = history.entries
        if self.age_embedding is not None:
            entries_BLW = entries_BLW + self.age_embedding(history.ages)
        assert history.target is not None
        target_BLW = history.target.unsqueeze(1).expand_as(entries_BLW)
        compared = torch.cat([entries_BLW, target_BLW, entries_BLW - target_BLW, entries_BLW * target_BLW], dim=-1)
        score_BL = self.weigh(self.unit(compared)).squeeze(-1)
        weight_BL = softmax_of_present(score_BL, history.present) if self._softmax else score_BL * history.present
        return weighted_sum(weight_BL, entries_BLW)
