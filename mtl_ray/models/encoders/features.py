"""From a batch's columns to one vector a row: embeddings of categorical and list features, and the numbers."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.errors import MtlRayError
from mtl_ray.schema import MISSING_ID, BatchSchema, CategoricalFeature, ListFeature, Settings


class FeatureEncoderConfig(Settings):
    """`model.encoder` of the config."""

    embedding_dim: int = Field(default=16, ge=1)
    embedding_std: float = Field(default=0.01, gt=0.0, allow_inf_nan=False)
    """Embeddings start normally distributed with this standard deviation: small, so that an id seen a few times
    says little at first."""
    list_pooling: Literal["mean"] = "mean"
    """How a list becomes one vector: the mean of its ids' embeddings."""
    numeric: Literal["plain"] = "plain"
    """How numbers enter: as they are in the batch."""

    def build(self, schema: BatchSchema) -> FeatureEncoder:
        return FeatureEncoder(self, schema)


class FeatureEncoder(nn.Module):
    """`Batch` to `[B, D_in]`: categorical embeddings, pooled lists, numbers, each in schema order.

    The vocabularies lie one after the other in one table, so that a step makes one gather (and, backwards, one
    dense gradient) whatever the number of features. A missing categorical value has its own learned row; in a list
    the same id is padding and is left out, and an empty list gives zeros. Ids are trusted to lie within their
    vocabulary: the snapshot was encoded with it, and a check here would wait for the GPU in every step.
    """

    offsets: Tensor
    """First row of each gathered column's vocabulary, int64 `[F_c + sum of list lengths]`."""

    def __init__(self, config: FeatureEncoderConfig, schema: BatchSchema) -> None:
        super().__init__()
        self.embedding_dim = config.embedding_dim
        self._num_categorical = len(schema.categorical)
        self._num_numeric = len(schema.numeric)
        self._lists = tuple(feature.name for feature in schema.lists)
        self._lengths = tuple(feature.max_length for feature in schema.lists)
        self.out_size = self.embedding_dim * (self._num_categorical + len(self._lists)) + self._num_numeric
        if self.out_size == 0:
            raise MtlRayError("The training set has no feature, so a model has no input.")
        start = _first_rows(schema)
        columns = [start[feature.vocabulary] for feature in schema.categorical]
        for feature in schema.lists:
            columns += [start[feature.vocabulary]] * feature.max_length
        self.register_buffer("offsets", torch.tensor(columns, dtype=torch.int64), persistent=False)
        self.embedding: nn.Embedding | None = None
        if columns:
            rows = sum(schema.vocabularies[vocabulary] for vocabulary in start)
            self.embedding = nn.Embedding(rows, self.embedding_dim)
            nn.init.normal_(self.embedding.weight, std=config.embedding_std)

    def forward(self, batch: Batch) -> Tensor:
        parts = []
        if self.embedding is not None:
            lists = [batch.lists[name] for name in self._lists]
            ids = torch.cat([batch.categorical, *lists], dim=1) if lists else batch.categorical
            gathered_BND = self.embedding(ids + self.offsets)
            columns = gathered_BND.split([self._num_categorical, *self._lengths], dim=1)
            parts.append(columns[0].flatten(1))
            for list_ids, embedded in zip(lists, columns[1:], strict=True):
                parts.append(_mean_of_present(embedded, list_ids != MISSING_ID))
        if self._num_numeric:
            parts.append(batch.numeric)
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def _first_rows(schema: BatchSchema) -> dict[str, int]:
    """First row of each vocabulary that some feature uses, in the order of `schema.vocabularies`."""
    features: list[CategoricalFeature | ListFeature] = [*schema.categorical, *schema.lists]
    used = {feature.vocabulary for feature in features}
    for feature in features:
        if feature.vocabulary not in schema.vocabularies:
            raise MtlRayError(
                f"The feature {feature.name!r} uses the vocabulary {feature.vocabulary!r}, which the schema lacks."
            )
    start, row = {}, 0
    for vocabulary, size in schema.vocabularies.items():
        if vocabulary in used:
            start[vocabulary] = row
            row += size
    return start


def _mean_of_present(embedded_BLD: Tensor, present_BL: Tensor) -> Tensor:
    """Mean over the present positions `[B, D]`; zeros where there is none."""
    weight_BL = present_BL.to(embedded_BLD.dtype)
    weight_BL = weight_BL / weight_BL.sum(dim=1, keepdim=True).clamp(min=1.0)
    return torch.bmm(weight_BL.unsqueeze(1), embedded_BLD).squeeze(1)
