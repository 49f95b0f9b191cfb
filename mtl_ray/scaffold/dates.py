"""Numbers and categories that a date says to a model."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.scaffold.values import TIME, Values

_MICROSECONDS_A_DAY = 86_400_000_000

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def parts_of(time: Values, reference: pa.Array | None) -> dict[str, Values]:
    """Suffix -> derived column of `time` (kind `time`).

    `age_days`: float days before `reference` (timestamp[us, UTC], a value a row), or before the column's last date
    where None; `weekday`: text, UTC; `hour`: int64, only where there are times of day.
    """
    micros = time.array.cast(pa.int64())
    last = reference.cast(pa.int64()) if reference is not None else pc.max(micros)
    age = pc.divide(pc.subtract(last, micros).cast(pa.float64()), float(_MICROSECONDS_A_DAY))
    return {"age_days": Values("number", age), **clock_of(time)}


def clock_of(time: Values) -> dict[str, Values]:
    """The parts of `time` that need no reference: `weekday` and, where there are times of day, `hour`."""
    names = pa.array(WEEKDAYS)
    parts = {"weekday": Values("text", names.take(pc.day_of_week(time.array)))}
    if pc.any(pc.not_equal(pc.floor_temporal(time.array, unit="day"), time.array)).as_py():
        parts["hour"] = Values("integer", pc.hour(time.array))
    return parts


def share_after(time: Values, reference: pa.Array) -> float:
    """Share of the present values of `time` that lie after the row's `reference`."""
    after = pc.greater(time.array, reference)
    return float(pc.mean(after.cast(pa.float64())).as_py() or 0.0)


def event_times(values: Values) -> pa.Array | None:
    """timestamp[us, UTC] of a column that says when rows happened: times, or integers counted from 1970 in seconds,
    milliseconds, microseconds or nanoseconds by their size; None for anything else."""
    if values.kind == "time":
        return values.array
    if values.kind != "integer":
        return None
    numbers = values.array.drop_null().to_numpy()
    largest = int(np.abs(numbers).max(initial=0))
    for limit, scale in ((10**8, 0), (10**11, 10**6), (10**14, 10**3), (10**17, 1)):
        if largest < limit:
            return pc.multiply(values.array, scale).cast(TIME) if scale else None
    return pc.divide(values.array, 1000).cast(TIME)
