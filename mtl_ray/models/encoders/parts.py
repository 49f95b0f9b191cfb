"""The settings of each feature of a training set, and the row that they give."""

from __future__ import annotations

from dataclasses import dataclass

from mtl_ray.models.encoders.histories import HistoryPlan
from mtl_ray.models.encoders.layout import FieldLayout
from mtl_ray.models.encoders.numeric import NumericSettings
from mtl_ray.models.encoders.numeric.numbers import field_columns
from mtl_ray.models.encoders.vectors import VectorConfig
from mtl_ray.schema import BatchSchema


@dataclass(frozen=True)
class EncoderParts:
    """What an encoder is built of."""

    histories: tuple[HistoryPlan, ...]
    numeric: tuple[NumericSettings, ...]
    """Of each numeric column."""
    vectors: tuple[VectorConfig, ...]
    """Of each vector feature."""
    schema: BatchSchema
    dim: int

    @property
    def layout(self) -> FieldLayout:
        schema = self.schema
        embedded = field_columns(self.numeric)
        vectors = list(zip(schema.vectors, self.vectors, strict=True))
        names = (
            *(feature.name for feature in schema.categorical),
            *(feature.name for plan in self.histories for feature in plan.lists),
            *(schema.numeric[column] for column in embedded),
            *(feature.name for feature, leaf in vectors if leaf.projection),
        )
        raw = sum(feature.size for feature, leaf in vectors if not leaf.projection)
        return FieldLayout(names, self.dim, len(schema.numeric) - len(embedded) + raw)
