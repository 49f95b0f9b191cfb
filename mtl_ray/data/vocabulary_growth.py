"""Appending new rows to a training set: fitted preprocessing stays, its vocabularies learn the new values, and forget
those that no row shows any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.data.eviction import NEVER, microseconds, places
from mtl_ray.data.fitted_preprocessing import Preprocessing, PreprocessingConfig
from mtl_ray.data.preprocessing_state import PreprocessingState
from mtl_ray.data.vocabularies import Vocabulary, admitted, by_falling_count, last_times, vocabulary_counts
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
    """Distinct unknown values left out because the new rows show them too seldom, or not of late."""
    over_limit: int
    """Distinct unknown values left out because the vocabulary is full."""
    evicted: int = 0
    """Values that lost their ids because no row has shown them for long."""

    @property
    def added(self) -> int:
        """Values that have got an id."""
        return self.new_size - self.old_size + self.evicted


def grow(
    preprocessing: Preprocessing,
    state: PreprocessingState,
    config: PreprocessingConfig,
    sights: Mapping[str, np.ndarray] | None = None,
) -> tuple[Preprocessing, dict[str, Growth]]:
    """`preprocessing` with the values that `state`, of new training rows alone, adds to its vocabularies.

    All ids, numeric statistics and missing shares stay as they are. A value that is unknown and occurs at least
    `config.min_count` times in the new rows gets an id after the existing ones, by falling count, equal counts by
    rising value, until the vocabulary knows `config.max_vocabulary` values. Also returns the growth of each
    vocabulary.

    With `config.evict_after` values that were not seen for so long before the newest row are evicted first, and ids
    change as `eviction.places` says. `sights`: vocabulary -> when the older rows have last shown each of its values,
    int64 `[values]`; where it is None, what the preprocessing keeps, and without that, never.

    Raises `DataError` where the features of the state are others than those fitted, where its lists are cut at another
    length, its vectors have another size, or where a vocabulary of integers meets text or the other way round.
    """
    _check_features(preprocessing, state)
    before = _sights(preprocessing, sights) if config.evict_after is not None else {}
    since = _since(before, state, config)
    vocabularies: dict[str, Vocabulary] = {}
    growth: dict[str, Growth] = {}
    for name, features in state.header.vocabulary_features().items():
        columns: list[tuple[str, Any]] = [(feature, state.counts[feature]) for feature in features]
        counts = vocabulary_counts(columns, name)
        vocabularies[name], growth[name] = _grown(
            preprocessing.vocabularies[name], counts.table, counts.total, name, config, before.get(name), since
        )
    return preprocessing.model_copy(update={"vocabularies": vocabularies}), growth


def _sights(preprocessing: Preprocessing, sights: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    if sights is not None:
        return dict(sights)
    return {
        name: np.full(len(item.values), NEVER) if item.last_seen is None else np.array(item.last_seen, dtype=np.int64)
        for name, item in preprocessing.vocabularies.items()
    }


def _since(before: Mapping[str, np.ndarray], state: PreprocessingState, config: PreprocessingConfig) -> int | None:
    """What was seen earlier for the last time is evicted; None: nothing is."""
    if config.evict_after is None:
        return None
    times = [int(sights.max(initial=NEVER)) for sights in before.values()]
    newest = max([*times, NEVER if state.header.newest is None else state.header.newest])
    return None if newest == NEVER else newest - microseconds(config.evict_after)


def _grown(
    vocabulary: Vocabulary,
    counts: pa.Table,
    total: int,
    name: str,
    config: PreprocessingConfig,
    sights: np.ndarray | None,
    since: int | None,
) -> tuple[Vocabulary, Growth]:
    ids = vocabulary.ids(counts["value"].combine_chunks(), name)
    unknown = counts.filter(pa.array(vocabulary.unknown(ids)))
    kept = np.ones(len(vocabulary.values), dtype=bool)
    if sights is not None and since is not None:
        sights = _seen_again(sights, vocabulary, ids, counts)
        kept = sights >= since
    frequent = admitted(unknown, config.min_count, since)
    room = max(config.max_vocabulary - int(kept.sum()), 0)
    added = by_falling_count(frequent)[:room]
    # The vocabulary itself where nothing is new: a copy would hold a million values twice.
    grown = vocabulary
    if added.num_rows or sights is not None:
        order = places(kept, added.num_rows)
        values = (*vocabulary.values, *added["value"].to_pylist())
        seen = None if sights is None else np.concatenate([sights, np.array(last_times(added), dtype=np.int64)])
        grown = Vocabulary(
            values=tuple(values[number] for number in order.tolist()),
            unknown_ids=vocabulary.unknown_ids,
            last_seen=None if seen is None else tuple(seen[order].tolist()),
        )
    unknown_rows = pc.sum(unknown["count"]).as_py() or 0
    return grown, Growth(
        old_size=vocabulary.size,
        new_size=grown.size,
        unknown_share=unknown_rows / total if total else 0.0,
        below_min_count=unknown.num_rows - frequent.num_rows,
        over_limit=frequent.num_rows - added.num_rows,
        evicted=int((~kept).sum()),
    )


def _seen_again(sights: np.ndarray, vocabulary: Vocabulary, ids: np.ndarray, counts: pa.Table) -> np.ndarray:
    """`sights`, later where the new rows have shown a value."""
    known = ids >= vocabulary.first_known
    if not known.any():
        return sights
    later = sights.copy()
    numbers = ids[known] - vocabulary.first_known
    later[numbers] = np.maximum(later[numbers], counts["last"].to_numpy()[known])
    return later


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
