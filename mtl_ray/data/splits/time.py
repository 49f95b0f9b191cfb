"""Split by time: later rows never train a model that earlier rows judge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import field_validator, model_validator

from mtl_ray.data.splits.split import (
    PARTS,
    WHERE,
    Fraction,
    Scan,
    SpinePass,
    SplitBoundaries,
    SplitPlan,
    SplitSettings,
    check_fractions,
    microseconds_of,
)
from mtl_ray.errors import DataError


@dataclass(frozen=True)
class TimePlan(SplitPlan):
    """Two times, in microseconds since 1970."""

    boundaries: SplitBoundaries
    validation_from: int
    test_from: int

    def parts(self, rows: pa.Table) -> np.ndarray:
        return _parts(microseconds_of(rows), self.validation_from, self.test_from)


class TimeSplitConfig(SplitSettings):
    """Either fractions of the rows, or the times at which validation and test begin.

    `{validation: 0.1, test: 0.1}`: the last 10 % of the rows by time test and the 10 % before them validate.
    `{validation_from: 2022-05-06T00:00:00+08:00, test_from: 2022-05-07T00:00:00+08:00}`: a row of exactly that
    time belongs to the later part. Rows of one timestamp always stay together.
    """

    by: Literal["time"] = "time"
    validation: Fraction | None = None
    test: Fraction | None = None
    validation_from: datetime | None = None
    test_from: datetime | None = None

    @field_validator("validation_from", "test_from")
    @classmethod
    def _check_zone(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.utcoffset() is None:
            raise ValueError(
                f"needs a time zone, found {value.isoformat()}: "
                f"write {value.isoformat()}+00:00 for UTC, or your own offset"
            )
        return value

    @model_validator(mode="after")
    def _check_form(self) -> TimeSplitConfig:
        fractions = (self.validation, self.test)
        times = (self.validation_from, self.test_from)
        if any(item is not None for item in fractions) and any(item is not None for item in times):
            raise ValueError(
                "give either validation and test (fractions) or validation_from and test_from (times), not both"
            )
        if self.validation_from is not None and self.test_from is not None:
            if self.validation_from >= self.test_from:
                raise ValueError(
                    f"validation_from ({self.validation_from.isoformat()}) must be before "
                    f"test_from ({self.test_from.isoformat()})"
                )
        elif self.validation is not None and self.test is not None:
            check_fractions(self.validation, self.test)
        else:
            raise ValueError("needs both validation and test, or both validation_from and test_from")
        return self

    def plan(self, scan: Scan) -> TimePlan:
        """With fractions a boundary is the timestamp of the row where the part would begin if no two rows had the
        same time. Raises `DataError` where a part has no row."""
        spine = SpinePass(scan, self.columns)
        if self.validation_from is not None and self.test_from is not None:
            validation_from, test_from = _microseconds(self.validation_from), _microseconds(self.test_from)
            rows = np.zeros(len(PARTS), np.int64)
            for table in spine:
                rows += _count(microseconds_of(table), validation_from, test_from)
            boundaries = spine.boundaries(validation_from, test_from)
        else:
            assert self.validation is not None
            assert self.test is not None
            times = spine.collect(microseconds_of, np.int64)
            spine.boundaries()
            validation_from, test_from = _boundaries(times, self.validation, self.test)
            rows = _count(times, validation_from, test_from)
            boundaries = spine.boundaries(validation_from, test_from)
        for part, count in zip(PARTS, rows, strict=True):
            if count == 0:
                raise _empty(part, boundaries, spine.rows)
        return TimePlan(boundaries, validation_from, test_from)


def _parts(times: np.ndarray, validation_from: int, test_from: int) -> np.ndarray:
    return (times >= validation_from).astype(np.int8) + (times >= test_from).astype(np.int8)


def _count(times: np.ndarray, validation_from: int, test_from: int) -> np.ndarray:
    """Rows by part, int64 `[3]`."""
    late, last = np.count_nonzero(times >= validation_from), np.count_nonzero(times >= test_from)
    return np.array([times.size - late, late - last, last])


def _boundaries(times: np.ndarray, validation: float, test: float) -> tuple[int, int]:
    """When validation and test begin. Reorders `times`, int64 `[rows]`, all in microseconds since 1970."""
    test_rows = max(1, round(times.size * test))
    validation_rows = max(1, round(times.size * validation))
    test_at = max(0, times.size - test_rows)
    validation_at = max(0, times.size - test_rows - validation_rows)
    times.partition([validation_at, test_at])
    return int(times[validation_at]), int(times[test_at])


def _empty(part: str, boundaries: SplitBoundaries, rows: int) -> DataError:
    assert boundaries.validation_from is not None
    assert boundaries.test_from is not None
    limits = {
        "train": f"before {boundaries.validation_from.isoformat()}",
        "validation": f"from {boundaries.validation_from.isoformat()} to before {boundaries.test_from.isoformat()}",
        "test": f"from {boundaries.test_from.isoformat()}",
    }
    return DataError(
        f"The {part} part of the split has no rows.",
        where=WHERE,
        found=f"{rows} rows from {boundaries.first.isoformat()} to {boundaries.last.isoformat()}, none {limits[part]}",
        allowed="at least one row in each of train, validation and test; rows of one timestamp stay together",
        fix="move validation_from and test_from (or the fractions) into the range of the data",
    )


def _microseconds(time: datetime) -> int:
    since = time.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
