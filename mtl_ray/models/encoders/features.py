"""From a batch's columns to one vector a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.embedding_table import EmbeddingTable
from mtl_ray.errors import MtlRayError
from mtl_ray.models.cut import Cut
from mtl_ray.models.encoders.history import HistoryEncoder
from mtl_ray.models.encoders.interactions import InteractionSettings
from mtl_ray.models.encoders.numeric.numbers import Numbers
from mtl_ray.models.encoders.parts import EncoderParts
from mtl_ray.models.precision import as_products_take_it
from mtl_ray.schema import MISSING_ID, BatchSchema, CategoricalFeature, ListFeature


class FeatureEncoder(nn.Module):
    """`Batch` to `[B, D_in]`: the row as `FieldLayout` lays it out, after the interaction.

    The vocabularies lie one after the other in one table, so that a step makes one gather (and, backwards, one
    dense gradient) whatever the number of features. A missing categorical value has its own learned row; in a list
    the same id is padding and is left out, and an empty list gives zeros. Ids are trusted to lie within their
    vocabulary: the snapshot was encoded with it, and a check here would wait for the GPU in every step.

    The one table is an `nn.Embedding`, which the optimizer treats apart. What else is looked up (buckets, positions,
    ages) has few rows, which learn in nearly every step: weight matrices to the optimizer, or biases where it is one
    number a row.
    """

    offsets: Tensor
    """First row of each gathered column's vocabulary, int64 `[F_c + sum of list lengths]`."""

    def __init__(
        self,
        parts: EncoderParts,
        std: float,
        interaction: InteractionSettings,
        borrowed: Mapping[str, int] | None = None,
    ) -> None:
        """`std`: standard deviation of the embeddings at the start. `borrowed`: first row of each vocabulary in a table
        that is not this encoder's, which every call is then given."""
        super().__init__()
        schema = parts.schema
        self.embedding_dim = parts.dim
        self.layout = parts.layout
        if self.layout.size == 0:
            raise MtlRayError("The training set has no feature, so a model has no input.")
        self._num_categorical = len(schema.categorical)
        self._lists = tuple(feature.name for feature in schema.lists)
        self._lengths = tuple(feature.max_length for feature in schema.lists)
        start = first_rows(schema) if borrowed is None else borrowed
        columns = [start[feature.vocabulary] for feature in schema.categorical]
        for feature in schema.lists:
            columns += [start[feature.vocabulary]] * feature.max_length
        self.register_buffer("offsets", torch.tensor(columns, dtype=torch.int64), persistent=False)
        self.lookup = Cut()
        """Between the table and the rest."""
        self.embedding: nn.Embedding | None = None
        if columns and borrowed is None:
            self.embedding = embedding_table(schema, self.embedding_dim, std)
        self.histories = nn.ModuleList(HistoryEncoder(plan, schema, parts.dim, std) for plan in parts.histories)
        self.numbers = Numbers(parts.numeric, schema.numeric_quantiles, parts.dim, std) if schema.numeric else None
        self._vectors = tuple(feature.name for feature in schema.vectors)
        self._projected = tuple(leaf.projection for leaf in parts.vectors)
        self.vectors = nn.ModuleList(
            leaf.build(feature.size, parts.dim) for feature, leaf in zip(schema.vectors, parts.vectors, strict=True)
        )
        self.interaction = interaction.build(self.layout)
        self.out_size = self.interaction.out_size

    def forward(self, batch: Batch, table: nn.Embedding | None = None) -> Tensor:
        """`table`: the borrowed one, where there is one."""
        fields, others = [], []
        table = self.embedding if table is None else table
        if table is not None and len(self.offsets):
            (gathered_BND,) = self.lookup(table(self._ids(batch) + self.offsets))
            # Backwards, a split copies all gradients into one: nothing is split where there is one part.
            parts = [self._num_categorical, *self._lengths]
            categorical_BFD, *lists = torch.split(gathered_BND, parts, dim=1) if self._lists else (gathered_BND,)
            embedded = dict(zip(self._lists, lists, strict=True))
            fields.append(categorical_BFD.flatten(1))
            fields += [history(batch, embedded, categorical_BFD) for history in self.histories]
        if self.numbers is not None:
            fields += self.numbers.fields(batch.numeric)
            others += self.numbers.others(batch.numeric)
        for name, vector, projected in zip(self._vectors, self.vectors, self._projected, strict=True):
            (fields if projected else others).append(vector(batch.vectors[name]))
        row = [*fields, *others]
        if not self.interaction.computes:
            row = [as_products_take_it(part) for part in row]
        encoded: Tensor = self.interaction(torch.cat(row, dim=1) if len(row) > 1 else row[0])
        return encoded

    def squared_norms(self, batch: Batch, table: nn.Embedding | None = None) -> Tensor:
        """Sum of the squared lengths of the embeddings that each row shows, `[B]`, without the padding of its lists.

        Summed over features and over a list's entries, an id that stands twice in a row twice.
        """
        table = self.embedding if table is None else table
        if table is None or not len(self.offsets):
            return batch.sample_weight.new_zeros(len(batch))
        ids = self._ids(batch)
        square_BN = table(ids + self.offsets).square().sum(dim=-1)
        present_BN = ids != MISSING_ID
        of_lists_B = (square_BN * present_BN)[:, self._num_categorical :].sum(dim=1)
        return square_BN[:, : self._num_categorical].sum(dim=1) + of_lists_B

    def _ids(self, batch: Batch) -> Tensor:
        """All columns that are gathered, `[B, F_c + sum of list lengths]`."""
        if not self._lists:
            return batch.categorical
        return torch.cat([batch.categorical, *(batch.lists[name] for name in self._lists)], dim=1)


def embedding_table(schema: BatchSchema, dim: int, std: float) -> EmbeddingTable:
    """One table for the vocabularies that the schema's features use, as `first_rows` places them."""
    starts = first_rows(schema)
    ids_a_row: Counter[str] = Counter(feature.vocabulary for feature in schema.categorical)
    for feature in schema.lists:
        ids_a_row[feature.vocabulary] += feature.max_length
    return EmbeddingTable(sum(schema.vocabularies[vocabulary] for vocabulary in starts), dim, std, starts, ids_a_row)


def first_rows(schema: BatchSchema) -> dict[str, int]:
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
