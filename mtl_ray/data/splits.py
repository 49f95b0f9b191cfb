"""Which rows train, which validate and which test: later rows never train a model that earlier rows judge."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from mtl_ray.errors import DataError
from mtl_ray.schema import Settings

PARTS = ("train", "validation", "test")
"""Parts in the order of time; a row's part is an index into it."""

_Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]


class SplitConfig(Settings):
    """Either fractions of the rows, or the times at which validation and test begin.

    `{validation: 0.1, test: 0.1}`: the last 10 % of the rows by time test and the 10 % before them validate.
    `{validation_from: 2022-05-06T00:00:00+08:00, test_from: 2022-05-07T00:00:00+08:00}`: a row of exactly that
    time belongs to the later part. Rows of one timestamp always stay together.
    """

    by: Literal["time"] = "time"
    validation: _Fraction | None = None
    test: _Fraction | None = None
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
    def _check_form(self) -> SplitConfig:
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
            if self.validation + self.test >= 1.0:
                raise ValueError(
                    f"validation ({self.validation}) and test ({self.test}) leave nothing to train on: "
                    "their sum must be below 1"
                )
        else:
            raise ValueError("needs both validation and test, or both validation_from and test_from")
        return self


class SplitBoundaries(Settings):
    """Where the parts meet, UTC: train < validation_from <= validation < test_from <= test."""

    first: datetime
    validation_from: datetime
    test_from: datetime
    last: datetime


def assign(timestamps: pa.Array | pa.ChunkedArray, config: SplitConfig) -> tuple[np.ndarray, SplitBoundaries]:
    """The part of every row, int8 `[rows]` (index into PARTS), and the boundaries.

    `timestamps`: timestamp[us, UTC] without nulls, in any order. With fractions a boundary is the timestamp of the
    row where the part would begin if no two rows had the same time. Raises `DataError` where a part has no row.
    """
    times = np.asarray(timestamps.cast(pa.int64()))
    if times.size == 0:
        raise DataError("The spine has no rows.", where="training_set.spine")
    validation_from, test_from = _boundaries(times, config)
    parts = (times >= validation_from).astype(np.int8) + (times >= test_from).astype(np.int8)
    boundaries = SplitBoundaries(
        first=_utc(times.min()),
        validation_from=_utc(validation_from),
        test_from=_utc(test_from),
        last=_utc(times.max()),
    )
    rows = np.bincount(parts, minlength=len(PARTS))
    for part, count in zip(PARTS, rows, strict=True):
        if count == 0:
            raise _empty(part, boundaries, times.size)
    return parts, boundaries


def _boundaries(times: np.ndarray, config: SplitConfig) -> tuple[int, int]:
    """Microseconds since 1970 at which validation and test begin."""
    if config.validation_from is not None and config.test_from is not None:
        return _microseconds(config.validation_from), _microseconds(config.test_from)
    assert config.validation is not None
    assert config.test is not None
    rows = times.size
    ordered = np.sort(times)
    test_rows = max(1, round(rows * config.test))
    validation_rows = max(1, round(rows * config.validation))
    test_at = max(0, rows - test_rows)
    validation_at = max(0, rows - test_rows - validation_rows)
    return int(ordered[validation_at]), int(ordered[test_at])


def _empty(part: str, boundaries: SplitBoundaries, rows: int) -> DataError:
    limits = {
        "train": f"before {boundaries.validation_from.isoformat()}",
        "validation": f"from {boundaries.validation_from.isoformat()} to before {boundaries.test_from.isoformat()}",
        "test": f"from {boundaries.test_from.isoformat()}",
    }
    return DataError(
        f"The {part} part of the split has no rows.",
        where="training_set.split",
        found=f"{rows} rows from {boundaries.first.isoformat()} to {boundaries.last.isoformat()}, none {limits[part]}",
        allowed="at least one row in each of train, validation and test; rows of one timestamp stay together",
        fix="move validation_from and test_from (or the fractions) into the range of the data",
    )


def _microseconds(time: datetime) -> int:
    since = time.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _utc(microseconds: int | np.integer) -> datetime:
    return pa.scalar(int(microseconds), pa.timestamp("us", "UTC")).as_py()
