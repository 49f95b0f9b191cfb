"""What every kind of split has: a config leaf that reads the spine once, and a plan that cuts any piece of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from mtl_ray.data.spine import EVENT_TIMESTAMP
from mtl_ray.data.splits.growing import GrowingArray
from mtl_ray.errors import DataError, nearest
from mtl_ray.schema import Settings

PARTS = ("train", "validation", "test")
"""Parts in the order of time; a row's part is an index into it."""

TRAIN, VALIDATION, TEST = range(len(PARTS))

WHERE = "training_set.split"

Scan = Callable[[Sequence[str]], Iterator[pa.Table]]
"""`scan(columns)` streams those columns of the spine, `row_id` int64 and `event_timestamp` timestamp[us, UTC] (both
without nulls), in row order."""

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class SplitBoundaries(Settings):
    """Times of the rows, UTC. By time train < validation_from <= validation < test_from <= test; other splits mix the
    times of their parts, and have no such boundary."""

    first: datetime
    validation_from: datetime | None = None
    test_from: datetime | None = None
    last: datetime


class SplitPlan(ABC):
    """The part of every row as a function of that row alone; picklable, and small however many rows there are."""

    boundaries: SplitBoundaries

    @abstractmethod
    def parts(self, rows: pa.Table) -> np.ndarray:
        """Index into PARTS, int8 `[rows]`. `rows`: any of the spine's, with row_id, event_timestamp and the config's
        `columns`."""


class SplitSettings(Settings, ABC):
    """A kind of split; `by` is added by each of them and chooses it."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Spine columns that the plan reads beside row_id and event_timestamp."""
        return ()

    @abstractmethod
    def plan(self, scan: Scan) -> SplitPlan:
        """Cut the spine. Holds up to 8 bytes a row meanwhile (a quarter more while it reads).

        Raises `DataError` for a spine without rows, a column that is absent or cannot be split by, and a part that
        would have no row.
        """


class FractionSettings(SplitSettings):
    """Shares of the rows; the rest trains."""

    validation: Fraction
    test: Fraction
    seed: Seed = 0
    """Another seed, another draw."""

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> Self:
        check_fractions(self.validation, self.test)
        return self


class SpinePass:
    """Iterating it streams the spine once, in tables with rows, and finds how many rows of which times there are."""

    def __init__(self, scan: Scan, columns: Sequence[str]) -> None:
        self._tables = scan(columns)
        self._columns = columns
        self._first = self._last = 0
        self.rows = 0

    def __iter__(self) -> Iterator[pa.Table]:
        for table in self._tables:
            for column in self._columns:
                if column not in table.column_names:
                    raise _absent(column, table.column_names)
            if table.num_rows == 0:
                continue
            times = microseconds_of(table)
            first, last = int(times.min()), int(times.max())
            self._first = min(self._first, first) if self.rows else first
            self._last = max(self._last, last) if self.rows else last
            self.rows += table.num_rows
            yield table

    def collect(self, value_of: Callable[[pa.Table], np.ndarray], dtype: type[np.generic]) -> np.ndarray:
        """`value_of` each table, end to end: `[rows]` of `dtype`."""
        values = GrowingArray(dtype)
        for table in self:
            values.add(value_of(table))
        return values.values

    def boundaries(self, validation_from: int | None = None, test_from: int | None = None) -> SplitBoundaries:
        """What the pass has seen, after it; times in microseconds since 1970. Raises `DataError` without any row."""
        if self.rows == 0:
            raise DataError("The spine has no rows.", where="training_set.spine")
        return SplitBoundaries(
            first=_utc(self._first),
            validation_from=None if validation_from is None else _utc(validation_from),
            test_from=None if test_from is None else _utc(test_from),
            last=_utc(self._last),
        )


def check_fractions(validation: float, test: float) -> None:
    """Raise `ValueError` where nothing is left to train on."""
    if validation + test >= 1.0:
        raise ValueError(
            f"validation ({validation}) and test ({test}) leave nothing to train on: their sum must be below 1"
        )


def refuse_empty_parts(counts: Sequence[int] | np.ndarray, how: str) -> None:
    """Raise `DataError` where one of `counts`, rows by part, is 0; `how` says how the rows were cut."""
    for part, count in zip(PARTS, counts, strict=True):
        if count == 0:
            raise DataError(
                f"The {part} part of the split has no rows.",
                where=WHERE,
                found=f"{int(sum(counts))} rows, cut {how}",
                allowed="at least one row in each of train, validation and test",
                fix="larger fractions, or more rows in the spine",
            )


def microseconds_of(rows: pa.Table) -> np.ndarray:
    """event_timestamp as microseconds since 1970, int64 `[rows]`."""
    return np.asarray(rows[EVENT_TIMESTAMP].cast(pa.int64()))


def _absent(column: str, present: Sequence[str]) -> DataError:
    guess = nearest(column, present)
    return DataError(
        f"The spine has no column {column!r} to split by.",
        where=f"{WHERE}.column",
        found=f"columns {', '.join(present)}",
        fix=f"did you mean {guess!r}?" if guess else "add the column to the spine, or correct its name",
    )


def _utc(microseconds: int) -> datetime:
    time: datetime = pa.scalar(microseconds, pa.timestamp("us", "UTC")).as_py()
    return time.astimezone(UTC)
