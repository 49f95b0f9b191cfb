"""Histories: lists and times with one `sequence` tag, whose entries belong together one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from mtl_ray.data.list_features import as_lists, list_lengths
from mtl_ray.data.service_spec import FeatureSpec
from mtl_ray.data.spine import row_name
from mtl_ray.errors import ConfigError, DataError, FeatureStoreError, nearest
from mtl_ray.schema import ListFeature


def sequence_members(features: Sequence[FeatureSpec]) -> dict[str, list[FeatureSpec]]:
    """Sequence -> its lists and times, in the order of the features."""
    members: dict[str, list[FeatureSpec]] = {}
    for feature in features:
        if feature.sequence is not None:
            members.setdefault(feature.sequence, []).append(feature)
    return members


def check_sequence_tags(features: Sequence[FeatureSpec]) -> None:
    """Raise `FeatureStoreError` for a sequence of times alone, one with two times, and times of no sequence."""
    for feature in features:
        if feature.encoding == "times" and feature.sequence is None:
            raise FeatureStoreError(
                f"The times {feature.name!r} belong to no sequence.",
                where=f"feature view {feature.view}, field {feature.name}",
                found="no tag `sequence`",
                allowed='a tag such as sequence: "history", at the times and at the lists that they are the times of',
                fix="add the tag and run `feast apply`, or leave the field out of the service",
            )
    for name, members in sequence_members(features).items():
        times = [feature.name for feature in members if feature.encoding == "times"]
        if len(times) > 1:
            raise FeatureStoreError(
                f"The sequence {name!r} has times more than once.",
                where=f"fields {', '.join(times)}",
                allowed="one field of times a sequence",
                fix="give each history a sequence name of its own and run `feast apply`",
            )
        if len(times) == len(members):
            raise FeatureStoreError(
                f"The sequence {name!r} has times but no list.",
                where=f"feature view {members[0].view}, field {times[0]}",
                allowed=f'at least one list with the tag sequence: "{name}" in the service',
                fix="add the tag to the lists that these are the times of, or leave the times out of the service",
            )


def check_lengths(table: pa.Table, sequences: Mapping[str, Sequence[str]]) -> None:
    """Raise `DataError` where columns of one sequence (name -> its columns) have different lengths in a row.

    A null list counts as empty.
    """
    for sequence, columns in sequences.items():
        lengths = [_lengths(table, column) for column in columns]
        for column, length in zip(columns[1:], lengths[1:], strict=True):
            wrong = np.flatnonzero(length != lengths[0])
            if not wrong.size:
                continue
            row = int(wrong[0])
            raise DataError(
                f"The columns of the sequence {sequence!r} have different lengths.",
                where=f"{row_name(table, row)}, features {columns[0]} and {column}",
                found=f"{columns[0]}: {lengths[0][row]} entries, {column}: {length[row]} entries, "
                f"and {wrong.size - 1} more rows near it",
                allowed="in each row one entry of each for each event; a null list counts as empty",
                fix="write both from the same events, or give them different `sequence` tags",
            )


def _lengths(table: pa.Table, column: str) -> np.ndarray:
    return list_lengths(as_lists(table[column], column, "the entries of a sequence"))


def check_length_names(names: Iterable[str], features: Sequence[FeatureSpec]) -> None:
    """Raise `ConfigError` unless each of `names` is a sequence, or a list outside of one."""
    known = {feature.sequence or feature.name for feature in features if feature.encoding in ("list", "times")}
    for name in names:
        if name in known:
            continue
        inside = {feature.name: feature.sequence for feature in features}.get(name)
        guess = nearest(name, known) if inside is None else inside
        raise ConfigError(
            "A list length is given for what is no sequence, nor a list outside of one.",
            where="training_set.preprocessing.list_max_lengths",
            found=name if inside is None else f"{name}, a column of the sequence {inside}",
            allowed=", ".join(sorted(known)) or "nothing: the service has no list",
            fix=f"did you mean {guess}?" if guess else "correct the name, or take it out",
        )


def truncation_notes(lists: Sequence[ListFeature], truncated: Mapping[str, int], rows: int) -> list[str]:
    """A sentence for each list or sequence that `truncated` (list -> rows) of `rows` rows had too many entries of."""
    notes = {}
    for feature in lists:
        if truncated.get(feature.name):
            notes[feature.sequence or feature.name] = (
                f"{feature.sequence or feature.name}: {truncated[feature.name]:,} of {rows:,} rows had more than "
                f"{feature.max_length} entries; the newest {feature.max_length} are kept"
            )
    return list(notes.values())
