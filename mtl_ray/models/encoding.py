"""What a sharing structure asks of the feature encoder: one encoding of the rows, or several.

Most structures read one vector a row, from all features. Some need more: a set of embedding tables for each task
beside the shared one (STEM), or a vector of a few prior features (PEPNet). Each is an `EncodingSet`, and each gets an
encoder of its own from the same config, so that any encoder works with any structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.errors import ConfigError, nearest
from mtl_ray.models.encoders import FeatureEncoder, FeatureEncoderConfig
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


def feature_names(schema: BatchSchema) -> tuple[str, ...]:
    """All features: categorical, numeric, lists, each in schema order."""
    categorical = [feature.name for feature in schema.categorical]
    return (*categorical, *schema.numeric, *(feature.name for feature in schema.lists))


def check_known(features: Sequence[str], schema: BatchSchema, where: str) -> None:
    """Raise `ConfigError` where one of `features` is none of the training set's."""
    known = feature_names(schema)
    for name in features:
        if name not in known:
            guess = nearest(name, known)
            raise ConfigError(
                "The model names a feature that the training set does not have.",
                where=where,
                found=name,
                allowed=", ".join(known),
                fix=f"did you mean {guess}?" if guess else "name one of the features",
            )


class NarrowEncoder(nn.Module):
    """`Batch` to `[B, D_in]`, from some of its features alone, in schema order."""

    columns: Tensor
    numbers: Tensor

    def __init__(self, config: FeatureEncoderConfig, schema: BatchSchema, features: Sequence[str]) -> None:
        super().__init__()
        check_known(features, schema, "model")
        kept = set(features)
        columns = [i for i, feature in enumerate(schema.categorical) if feature.name in kept]
        numbers = [i for i, name in enumerate(schema.numeric) if name in kept]
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64), persistent=False)
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.int64), persistent=False)
        self._lists = tuple(feature.name for feature in schema.lists if feature.name in kept)
        narrow = schema.model_copy(
            update={
                "categorical": tuple(schema.categorical[i] for i in columns),
                "numeric": tuple(schema.numeric[i] for i in numbers),
                "lists": tuple(feature for feature in schema.lists if feature.name in kept),
            }
        )
        self.inner = config.build(narrow)
        self.out_size = self.inner.out_size

    def forward(self, batch: Batch) -> Tensor:
        encoded: Tensor = self.inner(
            replace(
                batch,
                categorical=batch.categorical.index_select(1, self.columns),
                numeric=batch.numeric.index_select(1, self.numbers),
                lists={name: batch.lists[name] for name in self._lists},
            )
        )
        return encoded


Encoder = FeatureEncoder | NarrowEncoder
