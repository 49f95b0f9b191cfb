"""What a sharing structure asks of the feature encoder: one encoding of the rows, or several.

Most structures read one vector a row, from all features. Some need more: a set of embedding tables for each task
beside the shared one (STEM), or a vector of a few prior features (PEPNet). Each is an `EncodingSet`, and each gets an
encoder of its own from the same config, so that any encoder works with any structure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.models.encoders import FeatureEncoder, FeatureEncoderConfig
from mtl_ray.models.encoders.names import check_known
from mtl_ray.schema import BatchSchema


@dataclass(frozen=True)
class EncodingSet:
    """One encoder that a structure asks for."""

    features: tuple[str, ...] | None = None
    """Features that it reads; None: all."""
    task: int | None = None
    """Position of the task that alone trains it; None: it is shared."""


def build_encoder(config: FeatureEncoderConfig, schema: BatchSchema, wanted: EncodingSet) -> Encoder:
    """The encoder of one set."""
    if wanted.features is None:
        return config.build(schema)
    return NarrowEncoder(config, schema, wanted.features)


class NarrowEncoder(nn.Module):
    """`Batch` to `[B, D_in]`, from some of its features alone, in schema order.

    There is no interaction across them, and an encoder of `model.encoder.sequences` only where all of its lists and
    targets are among them.
    """

    columns: Tensor
    numbers: Tensor

    def __init__(
        self,
        config: FeatureEncoderConfig,
        schema: BatchSchema,
        features: Sequence[str],
        borrowed: Mapping[str, int] | None = None,
    ) -> None:
        """`borrowed` as `FeatureEncoder` takes it."""
        super().__init__()
        check_known(features, schema, "model")
        kept = set(features)
        columns = [i for i, feature in enumerate(schema.categorical) if feature.name in kept]
        numbers = [i for i, name in enumerate(schema.numeric) if name in kept]
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64), persistent=False)
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.int64), persistent=False)
        narrow = narrow_schema(schema, kept)
        self.inner = config.narrowed(schema, kept).build(narrow, borrowed)
        self.out_size = self.inner.out_size

    def forward(self, batch: Batch, table: nn.Embedding | None = None) -> Tensor:
        """`table`: the borrowed one, where there is one."""
        encoded: Tensor = self.inner(self._narrowed(batch), table)
        return encoded

    def squared_norms(self, batch: Batch, table: nn.Embedding | None = None) -> Tensor:
        """As `FeatureEncoder.squared_norms`, of these features."""
        return self.inner.squared_norms(self._narrowed(batch), table)

    def _narrowed(self, batch: Batch) -> Batch:
        """What the batch has by name the inner encoder picks itself."""
        return replace(
            batch,
            categorical=batch.categorical.index_select(1, self.columns),
            numeric=batch.numeric.index_select(1, self.numbers),
        )


def narrow_schema(schema: BatchSchema, kept: Collection[str]) -> BatchSchema:
    """`schema` with those of its features alone that are in `kept`."""
    numbers = [i for i, name in enumerate(schema.numeric) if name in kept]
    # Ages stay as they are: which of them are read, the config's sequences say.
    return schema.model_copy(
        update={
            "categorical": tuple(feature for feature in schema.categorical if feature.name in kept),
            "numeric": tuple(schema.numeric[i] for i in numbers),
            "numeric_quantiles": tuple(schema.numeric_quantiles[i] for i in numbers if schema.numeric_quantiles),
            "lists": tuple(feature for feature in schema.lists if feature.name in kept),
            "vectors": tuple(feature for feature in schema.vectors if feature.name in kept),
        }
    )


Encoder = FeatureEncoder | NarrowEncoder
