"""Fitted preprocessing: from raw feature columns to the packed columns of a training set.

The same `Preprocessing` document encodes shards, and later the rows of a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from mtl_ray.data.list_features import list_tail
from mtl_ray.data.numeric_transforms import NumericStatistics, NumericTransform, numeric_values
from mtl_ray.data.packing import packed
from mtl_ray.data.vocabularies import Vocabulary, category_values
from mtl_ray.errors import DataError, nearest
from mtl_ray.schema import BatchSchema, CategoricalFeature, ListFeature, Settings

LIST_PREFIX = "list_"
MISSING_SUFFIX = "__missing"

_Share = Annotated[float, Field(ge=0.0, le=1.0)]


class PreprocessingConfig(Settings):
    """How raw features become inputs; see `numeric_transforms` for the rules."""

    numeric: NumericTransform = "standard"
    clip_quantiles: tuple[_Share, _Share] | None = (0.001, 0.999)
    """Numbers are clipped to these quantiles of the training part; null: not at all."""
    min_count: Annotated[int, Field(ge=1)] = 1
    """A value that the training part shows less often shares the unknown id."""
    max_vocabulary: Annotated[int, Field(ge=1)] = 1_000_000
    """Most values that one vocabulary knows; the rarest are left out."""
    list_max_length: Annotated[int, Field(ge=1)] = 50
    """Of longer lists the last (newest) values are kept."""
    missing_indicators: bool = True
    """Adds `<name>__missing` (0 or 1) for each number that is missing somewhere in the training part."""

    @field_validator("clip_quantiles")
    @classmethod
    def _check_order(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] >= value[1]:
            raise ValueError(f"the first quantile must be smaller than the second, found {list(value)}")
        return value


class Preprocessing(Settings):
    """Fitted preprocessing. Its JSON keeps every float bit for bit."""

    vocabularies: dict[str, Vocabulary]
    categorical: tuple[CategoricalFeature, ...]
    numeric: tuple[NumericStatistics, ...]
    lists: tuple[ListFeature, ...]
    missing: dict[str, float]
    """Feature -> share of the training rows without a value (lists: null or empty)."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Raw columns that `encode` reads."""
        groups: tuple[Sequence[CategoricalFeature | NumericStatistics | ListFeature], ...] = (
            self.categorical,
            self.numeric,
            self.lists,
        )
        return tuple(feature.name for group in groups for feature in group)

    @property
    def numeric_inputs(self) -> tuple[str, ...]:
        """Columns of the packed `numeric`: the numbers, then the missing-value indicators."""
        indicators = (feature.name + MISSING_SUFFIX for feature in self.numeric if feature.indicator)
        return (*(feature.name for feature in self.numeric), *indicators)

    def batch_schema(self, tasks: Sequence[str]) -> BatchSchema:
        """Names, order and vocabulary sizes of the encoded columns, for a model of `tasks`."""
        return BatchSchema(
            vocabularies={name: vocabulary.size for name, vocabulary in self.vocabularies.items()},
            categorical=self.categorical,
            numeric=self.numeric_inputs,
            lists=self.lists,
            tasks=tuple(tasks),
        )

    def encode(self, table: pa.Table) -> pa.Table:
        """The packed columns of `table`'s rows.

        `categorical` int32 `[F_c]`, `numeric` float32 `[F_n]`, `list_<name>` int32 `[L]`, each a fixed-size list
        without nulls whose values are one contiguous buffer. A kind of which the model has no feature has no
        column. Raises `DataError` for a raw column that is absent or of the wrong type.
        """
        check_columns(table, self.columns)
        columns: dict[str, pa.Array] = {}
        if self.categorical:
            ids = np.empty((table.num_rows, len(self.categorical)), dtype=np.int32)
            for position, feature in enumerate(self.categorical):
                values = category_values(table[feature.name], feature.name)
                ids[:, position] = self.vocabularies[feature.vocabulary].ids(values, feature.name)
            columns["categorical"] = packed(ids)
        if self.numeric:
            columns["numeric"] = packed(self._encode_numeric(table))
        for listed in self.lists:
            tail = list_tail(table[listed.name], listed.name, listed.max_length)
            columns[LIST_PREFIX + listed.name] = packed(tail.ids(self.vocabularies[listed.vocabulary], listed.name))
        fields = [pa.field(name, column.type, nullable=False) for name, column in columns.items()]
        return pa.table(list(columns.values()), schema=pa.schema(fields))

    def _encode_numeric(self, table: pa.Table) -> np.ndarray:
        inputs = np.empty((table.num_rows, len(self.numeric_inputs)), dtype=np.float32)
        indicator = len(self.numeric)
        for position, feature in enumerate(self.numeric):
            values = numeric_values(table[feature.name], feature.name)
            inputs[:, position] = feature.apply(values)
            if feature.indicator:
                inputs[:, indicator] = np.isnan(values)
                indicator += 1
        return inputs


def check_columns(table: pa.Table, columns: Sequence[str]) -> None:
    """Raises `DataError` naming the first of `columns` that `table` lacks."""
    for column in columns:
        if column not in table.column_names:
            guess = nearest(column, table.column_names)
            raise DataError(
                f"The feature column {column!r} is absent.",
                where=f"column {column}",
                found=f"columns {', '.join(table.column_names)}",
                fix=f"did you mean {guess!r}?" if guess else "add the column",
            )
