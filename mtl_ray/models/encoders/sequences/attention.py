"""Attention pooling with a learned query."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from mtl_ray.models.encoders.ages import AgeBias
from mtl_ray.models.encoders.sequences.masked import softmax_of_present, weighted_sum
from mtl_ray.models.encoders.sequences.sequence import History, HistorySize, SequenceSettings


class AttentionConfig(SequenceSettings):
    """`list_pooling: attention`."""

    name: Literal["attention"] = "attention"

    def build(self, size: HistorySize) -> AttentionPooling:
        return AttentionPooling(size)


class AttentionPooling(nn.Module):
    """sum_l a_l e_l with a = softmax over the present entries of q . e_l / sqrt(W) + c(age_l): scaled dot products with
    one query for all rows, and a bias for how old an entry is. q and c start at 0: the mean."""

    def __init__(self, size: HistorySize) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(size.width))
        self.age_bias = AgeBias() if size.has_ages else None

    def forward(self, history: History) -> Tensor:
        score_BL = history.entries @ self.query * len(self.query) ** -0.5
        if self.age_bias is not None:
            assert history.ages is not None
            score_BL = score_BL + self.age_bias(history.ages)
        return weighted_sum(softmax_of_present(score_BL, history.present), history.entries)
