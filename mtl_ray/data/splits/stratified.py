"""Stratified split: the same fractions within every value of a column, so that rare classes are in every part."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.data.splits.growing import GrowingArray
from mtl_ray.data.splits.hash_plan import row_cuts
from mtl_ray.data.splits.hashing import row_hashes, stream_key
from mtl_ray.data.splits.split import (
    TEST,
    TRAIN,
    VALIDATION,
    WHERE,
    FractionSettings,
    Scan,
    SpinePass,
    SplitBoundaries,
    SplitPlan,
    refuse_empty_parts,
)
from mtl_ray.errors import DataError

MOST_STRATA = 100_000
"""Values that the column may have: each keeps its own two cuts."""

Stratum = Hashable
"""A value of the column as Python has it; None stands for NULL and NaN."""


@dataclass(frozen=True)
class StratifiedPlan(SplitPlan):
    """Rows of each stratum in the order of their hashes, cut at two of them."""

    boundaries: SplitBoundaries
    key: int
    column: str
    cuts: Mapping[Stratum, tuple[int, int]]
    """Hashes at which validation and train begin; test comes first."""

    def parts(self, rows: pa.Table) -> np.ndarray:
        """Raises `DataError` for a value that was not in the spine while it was planned."""
        hashes = row_hashes(rows, self.key)
        strata, codes = _strata(rows, self.column)
        unseen = [value for value in strata if value not in self.cuts]
        if unseen:
            raise DataError(
                f"The column {self.column!r} holds a value that it did not hold when the split was planned.",
                where=f"{WHERE}.column",
                found=repr(unseen[0]),
                fix="leave the spine as it is while a training set is built from it",
            )
        cuts = np.array([self.cuts[value] for value in strata], np.uint64).reshape(-1, 2)[codes]
        interval = (hashes >= cuts[:, 0]).astype(np.int8) + (hashes >= cuts[:, 1]).astype(np.int8)
        return np.array([TEST, VALIDATION, TRAIN], np.int8)[interval]


class StratifiedSplitConfig(FractionSettings):
    """`{by: stratified, column: purchase, validation: 0.1, test: 0.1}`: 10 % of the rows of each value, rounded up or
    down to whole rows; NULL is a value of its own, and NaN is NULL."""

    by: Literal["stratified"] = "stratified"
    column: str
    """Any column of the spine but lists and structs, such as a label."""

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def plan(self, scan: Scan) -> StratifiedPlan:
        """Raises `DataError`, beside the others, for a column with more than MOST_STRATA values."""
        key = stream_key("split", self.seed)
        spine = SpinePass(scan, self.columns)
        drawn: dict[Stratum, GrowingArray] = {}
        for table in spine:
            hashes = row_hashes(table, key)
            strata, codes = _strata(table, self.column)
            order = np.argsort(codes, kind="stable")
            ends = np.cumsum(np.bincount(codes, minlength=len(strata)))
            for value, piece in zip(strata, np.split(hashes[order], ends[:-1]), strict=True):
                if value not in drawn:
                    drawn[value] = GrowingArray(np.uint64)
                drawn[value].add(piece)
            if len(drawn) > MOST_STRATA:
                raise DataError(
                    f"The column {self.column!r} has too many values to stratify by.",
                    where=f"{WHERE}.column",
                    found=f"more than {MOST_STRATA} different values",
                    allowed=f"at most {MOST_STRATA}",
                    fix="a column with fewer values, or by: group to keep the rows of one value together",
                )
        boundaries = spine.boundaries()
        rows = [found.size for found in drawn.values()]
        counts = apportioned(rows, (1.0 - self.validation - self.test, self.validation, self.test))
        refuse_empty_parts(
            counts.sum(axis=0),
            f"within {len(rows)} values of {self.column} into validation {self.validation} and test {self.test}",
        )
        cuts = {}
        for (value, found), (_, validation, test) in zip(drawn.items(), counts.tolist(), strict=True):
            at_validation, at_train = row_cuts(found.values, (test, test + validation))
            cuts[value] = (at_validation, at_train)
        return StratifiedPlan(boundaries, key, self.column, cuts)


def apportioned(rows: Sequence[int], fractions: Sequence[float]) -> np.ndarray:
    """Rows of each stratum by part, int64 `[S, parts]`: each cell rows * fraction rounded up or down.

    Which cells are rounded up is carried from one stratum to the next, so that many small strata do not all round the
    same way and the parts' totals stay near their fractions (a controlled rounding, Cox 1987, found greedily).
    """
    counts = np.zeros((len(rows), len(fractions)), np.int64)
    owed = np.zeros(len(fractions))
    for stratum, size in enumerate(rows):
        # 29.000000000000004 rows are 29.
        shares = [round(size * fraction, 9) for fraction in fractions]
        counts[stratum] = [math.floor(share) for share in shares]
        owed += shares - counts[stratum]
        left = size - int(counts[stratum].sum())
        whole = counts[stratum] == shares
        first = np.argsort(np.where(whole, -np.inf, owed), kind="stable")[::-1][:left]
        counts[stratum, first] += 1
        owed[first] -= 1.0
    return counts


def _strata(rows: pa.Table, column: str) -> tuple[list[Stratum], np.ndarray]:
    """The different values of `column` in `rows`, `[S]`, and the index of each row's, `[rows]`.

    Raises `DataError` for a column of lists, structs or maps.
    """
    values = rows[column]
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_nested(values.type):
        raise DataError(
            f"The column {column!r} holds no single values to stratify by.",
            where=f"{WHERE}.column",
            found=f"type {values.type}",
            allowed="integers, booleans, text, numbers, dates",
            fix="another column",
        )
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    coded = pc.dictionary_encode(values.combine_chunks(), null_encoding="encode")
    codes = np.asarray(coded.indices)
    found = coded.dictionary.to_pylist()
    # Values that Arrow tells apart and Python does not, such as 0.0 and -0.0, are one stratum.
    place = {value: at for at, value in enumerate(dict.fromkeys(found))}
    return list(place), np.array([place[value] for value in found], np.int64)[codes]
