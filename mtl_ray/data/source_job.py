"""Feast retrieval jobs over one source, without an entity frame: what `feast materialize` reads."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_VAL
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata

from mtl_ray.data.feast_views import DUMMY_KEY
from mtl_ray.data.join.asof import CREATED, TIME
from mtl_ray.data.join.gather import Gatherer
from mtl_ray.data.join.views import JoinView, frame, microseconds

_PULL_ROWS = 1 << 20


class SourceJob(RetrievalJob):
    """Rows of one source within a time range: all, or the newest of each key."""

    def __init__(
        self,
        path: str,
        keys: tuple[str, ...],
        features: tuple[str, ...],
        timestamp_field: str,
        created: str | None,
        span: tuple[datetime | None, datetime | None],
        *,
        latest: bool,
    ) -> None:
        columns = tuple(dict.fromkeys([*keys, *features, timestamp_field, *([created] if created else [])]))
        own = {key: key for key in keys if key != DUMMY_KEY}
        self._view = JoinView(
            name=Path(path).name,
            path=path,
            keys=tuple(own.items()),
            timestamp_field=timestamp_field,
            created=created,
            ttl=None,
            columns=tuple((name, name) for name in columns if name != DUMMY_KEY),
        )
        self._span = tuple(None if time is None else _microseconds(time) for time in span)
        self._latest = latest

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002
        view = self._view
        rows = view.rows
        names = [name for name, _ in view.columns]
        kept = rows.read(0, 0, names)
        for begin in range(0, rows.num_rows, _PULL_ROWS):
            table = self._within(rows.read(begin, min(begin + _PULL_ROWS, rows.num_rows), names))
            kept = self._newest(pa.concat_tables([kept, table])) if self._latest else pa.concat_tables([kept, table])
        if not view.keys:
            # Feast writes such a view under one key of its own, row after row: the newest must be the last.
            keys = self._in_order(kept)
            kept = Gatherer(kept, view.columns).take(keys["__index"].cast(pl.Int64).to_numpy())
            kept = kept.append_column(DUMMY_KEY, pa.array([DUMMY_ENTITY_VAL] * kept.num_rows, pa.string()))
        return kept

    def _within(self, table: pa.Table) -> pa.Table:
        times = frame(pa.table({TIME: microseconds(table[self._view.timestamp_field])}))[TIME]
        first, last = self._span
        inside = times.is_not_null()
        if first is not None:
            inside &= times >= first
        if last is not None:
            inside &= times <= last
        return table.filter(pa.array(inside.fill_null(False).to_numpy()))

    def _in_order(self, table: pa.Table) -> pl.DataFrame:
        """Keys, times and positions (`__index`) of the rows, the newest last."""
        keys = self._view.key_frame(table).with_row_index("__index")
        return keys.sort([TIME, CREATED, "__index"] if CREATED in keys.columns else [TIME, "__index"])

    def _newest(self, table: pa.Table) -> pa.Table:
        by = list(self._view.spine_keys)
        ordered = self._in_order(table)
        newest = ordered.unique(subset=by, keep="last", maintain_order=False) if by else ordered.tail(1)
        positions = newest["__index"].sort().cast(pl.Int64).to_numpy()
        return Gatherer(table, self._view.columns).take(positions)

    def _to_df_internal(self, timeout: int | None = None) -> Any:
        return self._to_arrow_internal(timeout).to_pandas()

    @property
    def full_feature_names(self) -> bool:
        """Never: columns have the source's names."""
        return False

    @property
    def on_demand_feature_views(self) -> list[Any]:
        """None."""
        return []

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """None: there is no entity frame."""
        return None


def _microseconds(time: datetime) -> int:
    aware = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)  # as Feast understands it
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
