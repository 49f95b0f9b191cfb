"""What a raw column holds: truth values, integers, numbers, text, times or lists, each in one Arrow type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Kind = Literal["truth", "integer", "number", "text", "time", "list", "empty", "other"]

TIME = pa.timestamp("us", "UTC")

_DATE_FORMATS = ("%Y/%m/%d", "%Y%m%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%b %d, %Y", "%d %b %Y")
_CLOCKS = ("", " %H:%M", " %H:%M:%S")
_LONGEST_DATE = 30


@dataclass(frozen=True, eq=False)
class Values:
    """A column in one of the types that Feast and the preprocessing take."""

    kind: Kind
    array: pa.Array
    """bool, int64, float64, string, timestamp[us, UTC], list<int64>, list<string>; as it was where `other`."""
    note: str | None = None
    """What was decided in reading it, where one could decide otherwise."""

    @property
    def present(self) -> int:
        """Rows with a value."""
        return len(self.array) - self.array.null_count

    @property
    def distinct(self) -> int:
        """Number of different values, null not counted; lists: of different lists."""
        return int(pc.count_distinct(self.comparable, mode="only_valid").as_py())

    @property
    def comparable(self) -> pa.Array:
        """`array` in a type that Arrow can group by."""
        if self.kind in ("list", "other", "empty"):
            return pa.array([None if value is None else repr(value) for value in self.array.to_pylist()], pa.string())
        return self.array

    def numbers(self) -> np.ndarray | None:
        """float64 `[rows]`, NaN where missing; None for text, times and lists."""
        if self.kind not in ("truth", "integer", "number"):
            return None
        array = self.array.cast(pa.int64()) if self.kind == "truth" else self.array
        found: np.ndarray = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return found

    def take(self, rows: pa.Array | np.ndarray) -> Values:
        """These rows; a null index gives null."""
        return Values(self.kind, self.array.take(pa.array(rows)), self.note)


def read_values(array: pa.Array) -> Values:
    """`array` with its kind. Text that is a date in every row becomes a time, whole floats become integers."""
    kind = array.type
    if pa.types.is_null(kind) or array.null_count == len(array):
        return Values("empty", array)
    if pa.types.is_boolean(kind):
        return Values("truth", array)
    if pa.types.is_uint64(kind) and pc.max(array).as_py() >= 2**63:
        return Values("text", array.cast(pa.string()), "integers above 2^63, read as text")
    if pa.types.is_integer(kind):
        return Values("integer", array.cast(pa.int64()))
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _number(array.cast(pa.float64()))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _time(array)
    if pa.types.is_time(kind) or pa.types.is_duration(kind):
        return Values("number", _seconds(array), "a time of day or duration, read as seconds")
    if pa.types.is_string(kind):
        return _date_text(array) or Values("text", array)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        item = kind.value_type
        if pa.types.is_integer(item) and not pa.types.is_uint64(item):
            return Values("list", array.cast(pa.list_(pa.int64())))
        if pa.types.is_string(item) or pa.types.is_large_string(item):
            return Values("list", array.cast(pa.list_(pa.string())))
    return Values("other", array)


def _number(array: pa.Array) -> Values:
    finite = pc.if_else(pc.is_finite(array), array, pa.scalar(None, pa.float64()))
    if finite.null_count == len(finite):
        return Values("empty", finite)
    largest = pc.max(pc.abs(finite)).as_py()
    if largest < 2**53 and pc.all(pc.equal(finite, pc.round(finite))).as_py():
        return Values("integer", finite.cast(pa.int64()))
    return Values("number", finite)


def _time(array: pa.Array) -> Values:
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        return Values("time", array.cast(TIME, safe=False))
    naive = array.cast(pa.timestamp("us"), safe=False)
    return Values("time", pc.assume_timezone(naive, "UTC"), "times without a zone, taken as UTC")


def _seconds(array: pa.Array) -> pa.Array:
    per_second = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[array.type.unit]
    width = pa.int32() if pa.types.is_time32(array.type) else pa.int64()
    return pc.divide(array.cast(width).cast(pa.float64()), per_second)


def _date_text(array: pa.Array) -> Values | None:
    """Times where every value is a date of one format."""
    head = array.drop_null()[:100]
    if not pc.all(pc.match_substring_regex(head, r"^\D*\d[\d:/., A-Za-z-]*$")).as_py():
        return None
    if pc.max(pc.utf8_length(head)).as_py() > _LONGEST_DATE:
        return None
    fitting = []
    for form in (day + clock for day in _DATE_FORMATS for clock in _CLOCKS):
        if pc.strptime(head, form, "us", error_is_null=True).null_count:
            continue
        parsed = pc.strptime(array, form, "us", error_is_null=True)
        if parsed.null_count == array.null_count:
            fitting.append((form, parsed))
    if not fitting:
        return None
    form, parsed = fitting[0]
    note = f"dates of the form {form}, taken as UTC"
    if len(fitting) > 1:
        note += f" ({fitting[1][0]} would fit too)"
    return Values("time", pc.assume_timezone(parsed, "UTC"), note)
