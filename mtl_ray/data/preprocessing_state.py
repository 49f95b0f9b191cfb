"""What preprocessing is fitted from: counts of each feature in some of the training rows, mergeable.

States of buckets give the same `Preprocessing` however the rows are cut, to the last bit. On disk a state is one
Parquet file a feature beside `state.json`, so that many are finished feature by feature: memory holds one feature's
counts, or those of the features that share a vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from mtl_ray.data.distributions import CategoryCounts, NumberDistribution
from mtl_ray.data.eviction import microseconds, times_of
from mtl_ray.data.fitted_preprocessing import Preprocessing, PreprocessingConfig, check_columns
from mtl_ray.data.list_features import as_lists, list_lengths, list_tail
from mtl_ray.data.numeric_transforms import NumericStatistics, fit_numeric, numeric_values
from mtl_ray.data.service_spec import FeatureSpec
from mtl_ray.data.spine import EVENT_TIMESTAMP
from mtl_ray.data.vector_features import VectorSize, fitted_size, one_size, vector_size
from mtl_ray.data.vocabularies import Vocabulary, category_values, fit_vocabulary
from mtl_ray.data.vocabulary_names import WITH_VOCABULARY, vocabulary_name
from mtl_ray.errors import SnapshotError
from mtl_ray.schema import AgeFeature, CategoricalFeature, ListFeature, Settings, VectorFeature

STATE_FILE = "state.json"

Counts = NumberDistribution | CategoryCounts

_COUNTED = ("numeric", *WITH_VOCABULARY)
"""Encodings whose values are counted."""


class StateHeader(Settings):
    """Everything of a state but the counts."""

    config: PreprocessingConfig
    features: tuple[FeatureSpec, ...]
    rows: int
    missing_rows: dict[str, int]
    """Feature -> rows without a value (lists: null or empty)."""
    truncated_rows: dict[str, int] = Field(default_factory=dict)
    """List -> rows with more entries than are kept."""
    vector_sizes: dict[str, VectorSize | None] = Field(default_factory=dict)
    """Vector -> its size; None where no row has one."""
    newest: int | None = None
    """Time of the newest row, in microseconds since 1970; None without rows, or where values are not evicted."""

    def vocabulary_features(self) -> dict[str, list[str]]:
        """Vocabulary -> the features that name it."""
        sharing: dict[str, list[str]] = {}
        for feature in self.features:
            if feature.encoding in WITH_VOCABULARY:
                sharing.setdefault(vocabulary_name(feature), []).append(feature.name)
        return sharing

    def counted(self) -> list[tuple[int, FeatureSpec]]:
        """Position and feature of those whose values are counted."""
        return [(number, item) for number, item in enumerate(self.features) if item.encoding in _COUNTED]


@dataclass(frozen=True)
class PreprocessingState:
    """The state of one bucket's training rows, or of several buckets'."""

    header: StateHeader
    counts: Mapping[str, Counts]
    """Feature -> counts of its values, of those in _COUNTED; a list counts only the values that it keeps."""

    @classmethod
    def of(cls, config: PreprocessingConfig, features: Sequence[FeatureSpec], table: pa.Table) -> PreprocessingState:
        """Of `table`, training rows with the raw columns of `features`.

        Raises `DataError` for a raw column that is absent or of the wrong type.
        """
        check_columns(table, [feature.name for feature in features])
        times = None
        if config.evict_after is not None:
            check_columns(table, [EVENT_TIMESTAMP])
            times = times_of(table[EVENT_TIMESTAMP])
        counts: dict[str, Counts] = {}
        missing_rows: dict[str, int] = {}
        truncated_rows: dict[str, int] = {}
        vector_sizes: dict[str, VectorSize | None] = {}
        for feature in features:
            column, name = table[feature.name], feature.name
            if feature.encoding == "numeric":
                counts[name] = NumberDistribution.of(numeric_values(column, name))
                missing_rows[name] = counts[name].missing
            elif feature.encoding == "list":
                tail = list_tail(column, name, config.max_length(feature))
                of_entries = None if times is None else times.take(pa.array(tail.rows))
                counts[name] = CategoryCounts.of(category_values(tail.entries, name), of_entries)
                missing_rows[name], truncated_rows[name] = tail.missing_rows, tail.truncated_rows
            elif feature.encoding == "vector":
                vector_sizes[name], missing_rows[name] = vector_size(table, name)
            elif feature.encoding == "times":
                lengths = list_lengths(as_lists(column, name, "times"))
                missing_rows[name] = int(np.count_nonzero(lengths == 0))
            else:
                counts[name] = CategoryCounts.of(category_values(column, name), times)
                missing_rows[name] = counts[name].missing
        header = StateHeader(
            config=config,
            features=tuple(features),
            rows=table.num_rows,
            missing_rows=missing_rows,
            truncated_rows=truncated_rows,
            vector_sizes=vector_sizes,
            newest=None if times is None else pc.max(times).as_py(),
        )
        return cls(header, counts)

    @staticmethod
    def merged(parts: Iterable[PreprocessingState]) -> PreprocessingState:
        """The state of all rows of `parts`, at least one, of equal config and features.

        Raises `DataError` where a feature is text in one part and integers in another, or a vector changes its size.
        """
        states = list(parts)
        header = _merged_header([state.header for state in states])
        counts = {
            feature.name: _merged_counts(feature, (state.counts[feature.name] for state in states))
            for feature in header.features
            if feature.encoding in _COUNTED
        }
        return PreprocessingState(header, counts)

    def finish(self) -> Preprocessing:
        """The preprocessing fitted to the rows.

        Raises `DataError` where features of one vocabulary differ in type, numbers are too large, or a vector is
        missing in all rows.
        """
        return _finished(self.header, self.counts.__getitem__)

    def write(self, folder: Path) -> None:
        """Into `folder`, which is made; `state.json` last."""
        folder.mkdir(parents=True, exist_ok=True)
        for position, feature in self.header.counted():
            # Each value occurs once: dictionaries and statistics would only cost time.
            table = self.counts[feature.name].to_arrow()
            pq.write_table(table, folder / _counts_file(position), use_dictionary=False, write_statistics=False)
        (folder / STATE_FILE).write_text(self.header.model_dump_json(indent=1))

    @classmethod
    def read(cls, folder: Path) -> PreprocessingState:
        """What `write` wrote. Raises `SnapshotError` naming a file that is absent or damaged."""
        header = _read_header(folder)
        counts = {feature.name: _read_counts(folder, position, feature) for position, feature in header.counted()}
        return cls(header, counts)

    @staticmethod
    def merged_from(folders: Sequence[Path]) -> PreprocessingState:
        """`merged(map(read, folders))`, but read feature by feature: memory holds the merged counts once."""
        header = _merged_header([_read_header(folder) for folder in folders])
        counts = {feature.name: _read_merged(folders, position, feature) for position, feature in header.counted()}
        return PreprocessingState(header, counts)

    @staticmethod
    def finish_from(folders: Sequence[Path]) -> Preprocessing:
        """`merged_from(folders).finish()`, but with one feature or one vocabulary in memory at a time."""
        header = _merged_header([_read_header(folder) for folder in folders])
        position = {feature.name: number for number, feature in header.counted()}
        return _finished(header, lambda name: _read_merged(folders, position[name], header.features[position[name]]))


def _finished(header: StateHeader, counts: Callable[[str], Any]) -> Preprocessing:
    config = header.config
    since = None
    if config.evict_after is not None and header.newest is not None:
        since = header.newest - microseconds(config.evict_after)
    sharing = header.vocabulary_features()
    vocabularies: dict[str, Vocabulary] = {}
    numeric: list[NumericStatistics] = []
    categorical: list[CategoricalFeature] = []
    lists: list[ListFeature] = []
    ages: list[AgeFeature] = []
    vectors: list[VectorFeature] = []
    for feature in header.features:
        if feature.encoding == "numeric":
            statistics = fit_numeric(
                feature.name,
                counts(feature.name),
                config.numeric,
                clip_quantiles=config.clip_quantiles,
                missing_indicators=config.missing_indicators,
            )
            numeric.append(statistics)
            continue
        if feature.encoding == "times":
            assert feature.sequence is not None
            length = config.max_length(feature)
            ages.append(AgeFeature(name=feature.name, sequence=feature.sequence, max_length=length))
            continue
        if feature.encoding == "vector":
            size = fitted_size(header.vector_sizes[feature.name], feature.name, header.rows)
            vectors.append(VectorFeature(name=feature.name, size=size))
            continue
        vocabulary = vocabulary_name(feature)
        if vocabulary not in vocabularies:
            columns = [(name, counts(name)) for name in sharing[vocabulary]]
            vocabularies[vocabulary] = fit_vocabulary(
                columns,
                vocabulary,
                min_count=config.min_count,
                max_size=config.max_vocabulary,
                unknown_ids=config.unknown_ids.get(vocabulary, 1),
                since=since,
            )
        if feature.encoding == "list":
            lists.append(
                ListFeature(
                    name=feature.name,
                    vocabulary=vocabulary,
                    max_length=config.max_length(feature),
                    sequence=feature.sequence,
                )
            )
        else:
            categorical.append(CategoricalFeature(name=feature.name, vocabulary=vocabulary))
    return Preprocessing(
        vocabularies=vocabularies,
        categorical=tuple(categorical),
        numeric=tuple(numeric),
        lists=tuple(lists),
        ages=tuple(ages),
        vectors=tuple(vectors),
        missing={name: missing / header.rows if header.rows else 0.0 for name, missing in header.missing_rows.items()},
        truncated=header.truncated_rows,
    )


def _merged_header(headers: Sequence[StateHeader]) -> StateHeader:
    if not headers:
        raise ValueError("merging needs at least one state")
    first = headers[0]
    for header in headers:
        if header.config != first.config or header.features != first.features:
            raise ValueError("states of different configs or features cannot be merged")
    return first.model_copy(
        update={
            "rows": sum(header.rows for header in headers),
            "missing_rows": _added([header.missing_rows for header in headers]),
            "truncated_rows": _added([header.truncated_rows for header in headers]),
            "newest": max((header.newest for header in headers if header.newest is not None), default=None),
            "vector_sizes": {
                name: one_size(name, [header.vector_sizes[name] for header in headers]) for name in first.vector_sizes
            },
        }
    )


def _added(rows: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(part[name] for part in rows) for name in rows[0]}


def _merged_counts(feature: FeatureSpec, parts: Iterable[Any]) -> Counts:
    if feature.encoding == "numeric":
        return NumberDistribution.merged(parts)
    return CategoryCounts.merged(parts, feature.name)


def _read_merged(folders: Sequence[Path], position: int, feature: FeatureSpec) -> Counts:
    return _merged_counts(feature, (_read_counts(folder, position, feature) for folder in folders))


def _counts_file(position: int) -> str:
    # Not the feature's name: it may hold what no file name can.
    return f"feature-{position:05d}.parquet"


def _read_header(folder: Path) -> StateHeader:
    file = folder / STATE_FILE
    try:
        return StateHeader.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise _damaged(file, error) from error


def _read_counts(folder: Path, position: int, feature: FeatureSpec) -> Counts:
    file = folder / _counts_file(position)
    try:
        table = pq.ParquetFile(file).read()
        if feature.encoding == "numeric":
            return NumberDistribution.from_arrow(table)
        return CategoryCounts.from_arrow(table)
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, json.JSONDecodeError) as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> SnapshotError:
    return SnapshotError(
        "The preprocessing counts of a bucket cannot be read.",
        where=str(file),
        found=f"{type(error).__name__}: {error}",
        fix="remove the bucket's folder and build again: it is computed anew",
    )
