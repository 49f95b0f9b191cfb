"""A spine and three feature tables, as a shop's log would hold them: seeded, Parquet, microseconds UTC.

How it grows with the rows n of the spine:

- users: n / 40 (slate50: n / 500, ten requests a user), unevenly active over 30 days: density ~ 1 / sqrt(rank);
- items: 30 sqrt(n): a catalogue grows slower than its traffic; shown with density ~ rank ** (-2 / 3);
- user view: 8 rows a user, written up to some days before one of the user's requests;
- item view: 10 rows an item, on full hours of the spine's 30 days and 15 days before;
- user-item view: n / 4 rows for pairs that were shown, two for each pair drawn.

And what makes a join go wrong, in every view: 5 % of the rows have a second one of the same key and time with other
values and another created_timestamp; 1 % stand exactly at a spine row's time, exactly ttl before it, a microsecond
older than that, or a microsecond after it; 0.1 % have a null key; 5 % of the feature values are null; a tenth of the
user view's keys is not in the spine. Files are in order of event time, ties in random order.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.benchmarks.point_in_time_join.views import (
    CREATED_TIMESTAMP,
    EVENT_TIMESTAMP,
    ITEM,
    ROW,
    USER,
    USER_ITEM,
    View,
)

TIMESTAMP = pa.timestamp("us", "UTC")
SLATES = {"single": 1, "slate4": 4, "slate50": 50}
"""Kind of spine -> items that one user is shown at one time."""
HOUR = 3_600_000_000
DAY = 24 * HOUR
_START = 1_767_225_600_000_000  # 2026-01-01 UTC, microseconds
_SPINE_DAYS = 30
_HISTORY_DAYS = 15
_NULL_VALUES = 0.05
_WORDS = {
    "user_country": 60,
    "user_favourite_category": 25,
    "item_category": 25,
    "item_brand": 2000,
    "item_state": 4,
    "pair_last_action": 5,
}
"""Distinct values of the string features."""


@dataclass(frozen=True)
class Dataset:
    """A folder with `spine.parquet` and a Parquet file for each view."""

    folder: Path
    kind: str
    rows: int
    null_keys: float = 0.0
    """Share of the spine's keys that are null. Zero where Feast takes part: pandas would make the column float."""
    seed: int = 0

    @property
    def spine(self) -> Path:
        """The spine's file."""
        return self.folder / "spine.parquet"

    def source(self, view: View) -> Path:
        """The view's file."""
        return self.folder / f"{view.name}.parquet"

    def write(self) -> None:
        """Write all files; they stand in `folder` when they are complete."""
        aside = self.folder.with_name(self.folder.name + ".part")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        rng = np.random.default_rng([self.seed, self.rows, SLATES[self.kind]])
        users, items = _users(self.rows, SLATES[self.kind]), _items(self.rows)
        spine = _spine(rng, self.rows, SLATES[self.kind], users, items)
        pq.write_table(_spine_table(rng, spine, self.null_keys), aside / self.spine.name)
        for view, rows in ((USER, 8 * users), (ITEM, 10 * items), (USER_ITEM, max(self.rows // 4, 8))):
            pq.write_table(_view_table(rng, view, rows, spine, users, items), aside / self.source(view).name)
        aside.rename(self.folder)


def _users(rows: int, slate: int) -> int:
    return max(20, rows // max(40, 10 * slate))


def _items(rows: int) -> int:
    return max(60, int(30 * rows**0.5))


@dataclass(frozen=True)
class _Spine:
    """int64 `[rows]` each."""

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray

    def keys(self, view: View, rows: np.ndarray) -> dict[str, np.ndarray]:
        found = {"user_id": self.user, "item_id": self.item}
        return {key: found[key][rows] for key in view.keys}


def _spine(rng: np.random.Generator, rows: int, slate: int, users: int, items: int) -> _Spine:
    requests = -(-rows // slate)
    user = (users * rng.random(requests) ** 2).astype(np.int64)
    time = _START + np.sort(rng.integers(0, _SPINE_DAYS * DAY, requests))
    request, slot = np.divmod(np.arange(rows), slate)
    # Slot j shows items whose rank is j modulo the slate, so that no item comes twice in a slate.
    item = slate * ((items // slate) * rng.random(rows) ** 3).astype(np.int64) + slot
    return _Spine(user[request], item, time[request])


def _spine_table(rng: np.random.Generator, spine: _Spine, null_keys: float) -> pa.Table:
    rows = spine.time.size
    click = rng.random(rows) < 0.08
    return pa.table(
        {
            ROW: np.arange(rows, dtype=np.int64),
            "user_id": pa.array(spine.user, mask=rng.random(rows) < null_keys),
            "item_id": pa.array(spine.item, mask=rng.random(rows) < null_keys),
            EVENT_TIMESTAMP: pa.array(spine.time, TIMESTAMP),
            "click": click.astype(np.int64),
            "dwell_seconds": pa.array(rng.gamma(2.0, 20.0, rows), mask=~click),
        }
    )


def _view_table(rng: np.random.Generator, view: View, rows: int, spine: _Spine, users: int, items: int) -> pa.Table:
    if view is ITEM:
        keys = {"item_id": rng.integers(0, items, rows)}
        event = _START + HOUR * rng.integers(-_HISTORY_DAYS * 24, _SPINE_DAYS * 24, rows)
    else:
        picked = rng.integers(0, spine.time.size, rows)
        if view is USER_ITEM:
            picked = np.resize(picked[: -(-rows // 2)], rows)
        keys = spine.keys(view, picked)
        mean_age = 3 * DAY if view is USER else DAY
        event = spine.time[picked] - rng.exponential(mean_age, rows).astype(np.int64)
        if view is USER:
            strangers = rng.random(rows) < 0.1
            keys["user_id"] = np.where(strangers, users + rng.integers(0, users, rows), keys["user_id"])
    _place_at_edges(rng, view, keys, event, spine)
    created = event + rng.exponential(HOUR / 2, rows).astype(np.int64)
    again = np.flatnonzero(rng.random(rows) < 0.05)
    moved = rng.integers(1, HOUR, again.size) * rng.choice([-1, 1], again.size)
    keys = {key: np.concatenate([values, values[again]]) for key, values in keys.items()}
    created = np.concatenate([created, created[again] + moved])
    event = np.concatenate([event, event[again]])
    order = _distinct(rng, [*keys.values(), event, created])
    columns = {key: pa.array(values[order], mask=_some(rng, order.size)) for key, values in keys.items()}
    for feature, kind in view.features.items():
        columns[feature] = _values(rng, feature, kind, order.size)
    columns[EVENT_TIMESTAMP] = pa.array(event[order], TIMESTAMP)
    columns[CREATED_TIMESTAMP] = pa.array(created[order], TIMESTAMP)
    return pa.table(columns)


def _place_at_edges(
    rng: np.random.Generator, view: View, keys: dict[str, np.ndarray], event: np.ndarray, spine: _Spine
) -> None:
    """Move 1 % of the rows, in place, to times where a join is easily off by one."""
    edge = np.flatnonzero(rng.random(event.size) < 0.01)
    at = rng.integers(0, spine.time.size, edge.size)
    offsets = np.array([0, -1, view.ttl_us, view.ttl_us + 1])
    event[edge] = spine.time[at] - rng.choice(offsets, edge.size)
    for key, values in spine.keys(view, at).items():
        keys[key][edge] = values


def _distinct(rng: np.random.Generator, columns: list[np.ndarray]) -> np.ndarray:
    """Row numbers without repeats of (keys, event, created), by event time and in random order within a time.

    Two rows equal in all three have no right order, so none are made.
    """
    order = np.lexsort(columns[::-1])
    same = np.ones(order.size - 1, dtype=bool)
    for values in columns:
        same &= values[order][1:] == values[order][:-1]
    kept = order[np.concatenate([[True], ~same])]
    kept = rng.permutation(kept)
    event = columns[-2]
    return kept[np.argsort(event[kept], kind="stable")]


def _some(rng: np.random.Generator, rows: int) -> np.ndarray:
    """bool `[rows]`: one in a thousand, two at least."""
    chosen = np.zeros(rows, dtype=bool)
    chosen[rng.choice(rows, max(rows // 1000, 2), replace=False)] = True
    return chosen


def _values(rng: np.random.Generator, feature: str, kind: str, rows: int) -> pa.Array:
    missing = rng.random(rows) < _NULL_VALUES
    if kind == "int64":
        return pa.array(rng.poisson(4.0, rows), pa.int64(), mask=missing)
    if kind == "id":
        return pa.array(rng.integers(2**53, 2**62, rows), pa.int64(), mask=missing)
    if kind == "float64":
        return pa.array(rng.gamma(2.0, 3.0, rows), pa.float64(), mask=missing)
    words = pa.array([f"{feature.partition('_')[2]}_{number}" for number in range(_WORDS[feature])])
    picked = pa.array(rng.integers(0, _WORDS[feature], rows), mask=missing)
    return pc.take(words, picked)
