"""Appending new rows to a training set: fitted preprocessing stays, its vocabularies learn the new values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.data.fitted_preprocessing import Preprocessing, PreprocessingConfig
from mtl_ray.data.preprocessing_state import PreprocessingState
from mtl_ray.data.vocabularies import Vocabulary, by_falling_count, vocabulary_counts
from mtl_ray.data.vocabulary_names import vocabulary_name
from mtl_ray.errors import DataError
from mtl_ray.schema import Settings


class Growth(Settings):
    """What new training rows did to one vocabulary."""

    old_size: int
    """Number of ids before, missing and unknown included."""
    new_size: int
    unknown_share: float
    """Share of the new rows' values (lists: entries; not the missing ones) that had no id of their own before."""
    below_min_count: int
    """Distinct unknown values left out because the new rows show them too seldom."""
    over_limit: int
    """Distinct unknown values left out because the vocabulary is full."""


def grow(
    preprocessing: Preprocessing, state: PreprocessingState, config: PreprocessingConfig
) -> tuple[Preprocessing, dict[str, Growth]]:
    """`preprocessing` with the values that `state`, of new training rows alone, adds to its vocabularies.

    All ids, numeric statistics and missing shares stay as they are. A value that is unknown and occurs at least
    `config.min_count` times in the new rows gets an id after the existing ones, by falling count, equal counts by
    rising value, until the vocabulary knows `config.max_vocabulary` values. Also returns the growth of each
    vocabulary. Raises `DataError` where the features of the state are others than those fitted, where its lists are
    cut at another length, its vectors have another size, or where a vocabulary of integers meets text or the other
    way round.
    """
    _check_features(preprocessing, state)
    vocabularies: dict[str, Vocabulary] = {}
    growth: dict[str, Growth] = {}
    for name, features in state.header.vocabulary_features().items():
        columns: list[tuple[str, Any]] = [(feature, state.counts[feature]) for feature in features]
        counts = vocabulary_counts(columns, name)
        vocabularies[name], growth[name] = _grown(
            preprocessing.vocabularies[name], counts.table, counts.total, name, config
        )
    return preprocessing.model_copy(update={"vocabularies": vocabularies}), growth


def _grown(
    vocabulary: Vocabulary, counts: pa.Table, total: int, name: str, config: PreprocessingConfig
) -> tuple[Vocabulary, Growth]:
    ids = vocabulary.ids(counts["value"].combine_chunks(), name)
    unknown = counts.filter(pa.array(vocabulary.unknown(ids)))
    frequent = unknown.filter(pc.greater_equal(unknown["count"], config.min_count))
    room = max(config.max_vocabulary - len(vocabulary.values), 0)
    added = by_falling_count(frequent)[:room].to_pylist()
    # The vocabulary itself where nothing is new: a copy would hold a million values twice.
    values = (*vocabulary.values, *added)
    grown = Vocabulary(values=values, unknown_ids=vocabulary.unknown_ids) if added else vocabulary
    unknown_rows = pc.sum(unknown["count"]).as_py() or 0
    return grown, Growth(
        old_size=vocabulary.size,
        new_size=grown.size,
        unknown_share=unknown_rows / total if total else 0.0,
        below_min_count=unknown.num_rows - frequent.num_rows,
        over_limit=frequent.num_rows - len(added),
    )


def _check_features(preprocessing: Preprocessing, state: PreprocessingState) -> None:
    fitted = _inputs(preprocessing)
    found = _inputs_of_state(state, {feature.name: feature.size for feature in preprocessing.vectors})
    if fitted != found:
        differing = sorted({name for name, _ in fitted.items() ^ found.items()})
        raise DataError(
            "The new rows have other features than the training set that they are appended to.",
            where=f"features {', '.join(differing)}",
            found="; ".join(f"{name}: {found.get(name, 'absent')}" for name in differing),
            allowed="; ".join(f"{name}: {fitted.get(name, 'absent')}" for name in differing),
            fix="append with the feature service and list lengths of the first build, or build a new training set",
        )


def _inputs(preprocessing: Preprocessing) -> dict[str, str]:
    """Feature -> in words what it is encoded to."""
    inputs = {feature.name: "a number" for feature in preprocessing.numeric}
    inputs |= {feature.name: _category(feature.vocabulary) for feature in preprocessing.categorical}
    inputs |= {item.name: _list(item.vocabulary, item.max_length, item.sequence) for item in preprocessing.lists}
    inputs |= {item.name: _times(item.max_length, item.sequence) for item in preprocessing.ages}
    inputs |= {item.name: _vector(item.size) for item in preprocessing.vectors}
    return inputs


def _inputs_of_state(state: PreprocessingState, sizes: Mapping[str, int]) -> dict[str, str]:
    """`sizes`: of fitted vectors, for those that no new row has."""
    inputs = {}
    length = state.header.config.max_length
    for feature in state.header.features:
        if feature.encoding == "numeric":
            inputs[feature.name] = "a number"
        elif feature.encoding == "list":
            inputs[feature.name] = _list(vocabulary_name(feature), length(feature), feature.sequence)
        elif feature.encoding == "times":
            inputs[feature.name] = _times(length(feature), feature.sequence)
        elif feature.encoding == "vector":
            found = state.header.vector_sizes[feature.name]
            inputs[feature.name] = _vector(sizes.get(feature.name, 0) if found is None else found.size)
        else:
            inputs[feature.name] = _category(vocabulary_name(feature))
    return inputs


def _category(vocabulary: str) -> str:
    return f"a category of {vocabulary}"


def _list(vocabulary: str, max_length: int, sequence: str | None) -> str:
    return f"the last {max_length} categories of {vocabulary}" + (f" in sequence {sequence}" if sequence else "")


def _times(max_length: int, sequence: str | None) -> str:
    return f"the last {max_length} times of sequence {sequence}"


def _vector(size: int) -> str:
    return f"a vector of {size} numbers"
