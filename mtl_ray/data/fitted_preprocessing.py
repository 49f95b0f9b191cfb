"""Fitted preprocessing: from raw feature columns to the packed columns of a training set.

The same `Preprocessing` document encodes shards, and later the rows of a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from mtl_ray.data.list_features import list_tail
from mtl_ray.data.numeric_transforms import NumericStatistics, NumericTransform, numeric_values
from mtl_ray.data.packing import packed
from mtl_ray.data.sequence_times import entry_ages
from mtl_ray.data.sequences import check_lengths
from mtl_ray.data.service_spec import FeatureSpec
from mtl_ray.data.spine import EVENT_TIMESTAMP
from mtl_ray.data.vector_features import vector_matrix
from mtl_ray.data.vocabularies import Vocabulary, category_values
from mtl_ray.errors import DataError, nearest
from mtl_ray.schema import AgeFeature, BatchSchema, CategoricalFeature, ListFeature, Settings, VectorFeature

LIST_PREFIX = "list_"
AGE_PREFIX = "age_"
VECTOR_PREFIX = "vector_"
MISSING_SUFFIX = "__missing"

_Share = Annotated[float, Field(ge=0.0, le=1.0)]


class PreprocessingConfig(Settings):
    """How raw features become inputs; see `numeric_transforms` for the rules."""

    numeric: NumericTransform = "standard"
    clip_quantiles: tuple[_Share, _Share] | None = (0.001, 0.999)
    """Numbers are clipped to these quantiles of the training part; null: not at all."""
    min_count: Annotated[int, Field(ge=1)] = 1
    """A value that the training part shows less often is unknown."""
    max_vocabulary: Annotated[int, Field(ge=1)] = 1_000_000
    """Most values that one vocabulary knows; the rarest are left out."""
    evict_after: Annotated[timedelta, Field(gt=timedelta())] | None = None
    """Such as 30d: a value that no training row has shown for longer than this before the newest one is unknown. Where
    rows are appended, its id, and so its embedding row, goes to a value that is new. null: values stay."""
    unknown_ids: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """Vocabulary -> how many ids its unknown values share, each by its hash; 1 where it is not named. With more of
    them, values that are rare or new are told apart a little."""
    list_max_length: Annotated[int, Field(ge=1)] = 50
    """Of longer lists the last (newest) values are kept."""
    list_max_lengths: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """List or sequence -> its own `list_max_length`; all columns of a sequence are kept as long."""
    missing_indicators: bool = True
    """Adds `<name>__missing` (0 or 1) for each number that is missing somewhere in the training part."""

    @field_validator("clip_quantiles")
    @classmethod
    def _check_order(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] >= value[1]:
            raise ValueError(f"the first quantile must be smaller than the second, found {list(value)}")
        return value

    def max_length(self, feature: FeatureSpec) -> int:
        """How many entries of a list or of times are kept."""
        return self.list_max_lengths.get(feature.sequence or feature.name, self.list_max_length)


class Preprocessing(Settings):
    """Fitted preprocessing. Its JSON keeps every float bit for bit."""

    vocabularies: dict[str, Vocabulary]
    categorical: tuple[CategoricalFeature, ...]
    numeric: tuple[NumericStatistics, ...]
    lists: tuple[ListFeature, ...]
    ages: tuple[AgeFeature, ...] = ()
    vectors: tuple[VectorFeature, ...] = ()
    missing: dict[str, float]
    """Feature -> share of the training rows without a value (lists: null or empty; vectors: see `vector_features`)."""
    truncated: dict[str, int] = Field(default_factory=dict)
    """List -> training rows with more entries than are kept."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Raw columns that `encode` reads."""
        groups: tuple[Sequence[Any], ...] = (self.categorical, self.numeric, self.lists, self.ages, self.vectors)
        times = (EVENT_TIMESTAMP,) if self.ages else ()
        return (*(feature.name for group in groups for feature in group), *times)

    @property
    def numeric_inputs(self) -> tuple[str, ...]:
        """Columns of the packed `numeric`: the numbers, then the missing-value indicators."""
        indicators = (feature.name + MISSING_SUFFIX for feature in self.numeric if feature.indicator)
        return (*(feature.name for feature in self.numeric), *indicators)

    @property
    def sequences(self) -> dict[str, list[str]]:
        """Sequence -> its columns: lists, then times."""
        found: dict[str, list[str]] = {}
        for feature in self.lists:
            if feature.sequence is not None:
                found.setdefault(feature.sequence, []).append(feature.name)
        for times in self.ages:
            found.setdefault(times.sequence, []).append(times.name)
        return found

    def batch_schema(self, tasks: Sequence[str], task_inputs: Sequence[str] = ()) -> BatchSchema:
        """Names, order and sizes of the encoded columns, for a model of `tasks`, which read `task_inputs`."""
        indicators = sum(feature.indicator for feature in self.numeric)
        return BatchSchema(
            vocabularies={name: vocabulary.size for name, vocabulary in self.vocabularies.items()},
            categorical=self.categorical,
            numeric=self.numeric_inputs,
            numeric_quantiles=(*(feature.input_quantiles for feature in self.numeric), *[(0.0, 1.0)] * indicators),
            lists=self.lists,
            ages=self.ages,
            vectors=self.vectors,
            task_inputs=tuple(task_inputs),
            tasks=tuple(tasks),
        )

    def encode(self, table: pa.Table, *, admit_future: bool = False) -> pa.Table:
        """The packed columns of `table`'s rows.

        `categorical` int32 `[F_c]`, `numeric` float32 `[F_n]`, `list_<name>` int32 `[L]`, `age_<name>` float32 `[L]`,
        `vector_<name>` float32 `[D]`, each a fixed-size list without nulls whose values are one contiguous buffer. A
        kind of which the model has no feature has no column. Raises `DataError` for a raw column that is absent or of
        the wrong type, a sequence whose columns differ in length in a row, a vector of another size than the training
        part's, and a sequence's entry from after the row's event_timestamp (unless `admit_future`, see `entry_ages`).
        """
        check_columns(table, self.columns)
        check_lengths(table, self.sequences)
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
        for aged in self.ages:
            ages = entry_ages(table, aged.name, aged.max_length, admit_future=admit_future)
            columns[AGE_PREFIX + aged.name] = packed(ages)
        for vector in self.vectors:
            columns[VECTOR_PREFIX + vector.name] = packed(vector_matrix(table, vector.name, vector.size))
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
