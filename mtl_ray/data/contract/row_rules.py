"""Rows that break a hard rule: which, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.data.contract.config import ContractConfig, Range
from mtl_ray.data.contract.label_rules import refused_labels
from mtl_ray.data.contract.missing import missing_rows
from mtl_ray.data.service_spec import FeatureSpec, ServiceSpec
from mtl_ray.data.spine import EVENT_TIMESTAMP, TIMESTAMP_TYPE
from mtl_ray.errors import DataError
from mtl_ray.tasks import TaskConfig

SEPARATOR = "; "
"""Between the reasons of one row."""


@dataclass(frozen=True, eq=False)
class RowVerdict:
    """What the row rules say about each row of a table."""

    ok: np.ndarray
    """bool `[rows]`: the row goes on."""
    reason: pa.Array
    """string `[rows]`: the rules that the row breaks, joined by SEPARATOR; null where it breaks none. A row may be ok
    and have a reason (`broken_rows: warn`)."""
    quarantined: dict[str, int]
    """Reason -> rows that it sends to quarantine; a row with two reasons counts in both."""
    kept: dict[str, int]
    """Reason -> rows that stay in although they break it."""

    @property
    def broken(self) -> int:
        """Number of rows that do not go on."""
        return int(self.ok.size - np.count_nonzero(self.ok))


@dataclass(frozen=True)
class _Broken:
    reason: str
    rows: np.ndarray
    """bool `[rows]`."""
    unusable: bool = False
    """Whether the row cannot stay in, whatever the contract's config says."""


def broken_rows(
    table: pa.Table, spec: ServiceSpec, tasks: Mapping[str, TaskConfig], config: ContractConfig
) -> RowVerdict:
    """The verdict on the joined rows `table` (spine columns and features, raw).

    Rules: a number outside its range (an infinite one is outside every range with a limit on that side), a required
    feature or a join key without a value, an event time that is absent or outside `event_time`, a label that its
    task refuses. What counts as missing: `missing_rows`. Raises `DataError` where a column's type does not admit its
    rule.
    """
    ok = np.ones(table.num_rows, dtype=bool)
    reasons: dict[int, list[str]] = {}
    quarantined: dict[str, int] = {}
    kept: dict[str, int] = {}
    for broken in _rules(table, spec, tasks, config):
        rows = np.flatnonzero(broken.rows)
        if not rows.size:
            continue
        stays = config.broken_rows == "warn" and not broken.unusable
        (kept if stays else quarantined)[broken.reason] = int(rows.size)
        if not stays:
            ok[rows] = False
        for row in rows.tolist():
            reasons.setdefault(row, []).append(broken.reason)
    column = np.full(table.num_rows, None, dtype=object)
    for row, found in reasons.items():
        column[row] = SEPARATOR.join(found)
    return RowVerdict(ok, pa.array(column, pa.string()), quarantined, kept)


def _rules(
    table: pa.Table, spec: ServiceSpec, tasks: Mapping[str, TaskConfig], config: ContractConfig
) -> Iterator[_Broken]:
    for key in spec.join_keys:
        yield _Broken(f"{key} is missing (join key)", missing_rows(table[key]), unusable=True)
    yield from _event_time(table[EVENT_TIMESTAMP], config)
    for feature in spec.features:
        column = table[feature.name]
        if feature.source != "key" and config.is_required(feature):
            yield _Broken(f"{feature.name} is missing (required)", missing_rows(column, feature))
        yield from _range(column, feature, config.range_of(feature))
    for name, task in tasks.items():
        label = task.label_column(name)
        where = "" if label == name else f" (column {label})"
        yield _Broken(f"label {name} is refused{where}", refused_labels(task, table[label], label), unusable=True)


def _event_time(values: pa.ChunkedArray, config: ContractConfig) -> Iterator[_Broken]:
    yield _Broken(f"{EVENT_TIMESTAMP} is missing", missing_rows(values), unusable=True)
    first, last = config.event_time
    if first is not None:
        rows = _true(pc.less(values, _moment(first)))
        yield _Broken(f"{EVENT_TIMESTAMP} is before {first.isoformat()}", rows)
    if last is not None:
        rows = _true(pc.greater(values, _moment(last)))
        yield _Broken(f"{EVENT_TIMESTAMP} is after {last.isoformat()}", rows)


def _moment(time: datetime) -> pa.Scalar:
    return pa.scalar(time, TIMESTAMP_TYPE)


def _range(column: pa.ChunkedArray, feature: FeatureSpec, limits: Range) -> Iterator[_Broken]:
    low, high = limits
    if low is None and high is None:
        return
    try:
        numbers = column.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"The feature {feature.name!r} has a range but holds no numbers.",
            where=f"column {feature.name}",
            found=f"type {column.type}",
            allowed="integers, floats or decimals",
            fix="take the range away (tags `min` and `max`, or training_set.contract.ranges), or correct the source",
        ) from error
    if low is not None:
        yield _Broken(f"{feature.name} is below {low:g}", _true(pc.less(numbers, low)))
    if high is not None:
        yield _Broken(f"{feature.name} is above {high:g}", _true(pc.greater(numbers, high)))


def _true(mask: pa.ChunkedArray) -> np.ndarray:
    """bool `[rows]`, False where null."""
    found: np.ndarray = pc.fill_null(mask, False).to_numpy()
    return found
