"""Which views give other values when they are joined by their keys alone: only those can leak."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.data.feature_store import FeatureRepo
from mtl_ray.data.join.stages import forget_views, join_bucket
from mtl_ray.data.join.views import JoinView, frame
from mtl_ray.data.point_in_time import FeatureJoin
from mtl_ray.data.spine import EVENT_TIMESTAMP, ROW_ID, Spine
from mtl_ray.machine_memory import default_budget


@dataclass(frozen=True)
class ViewChange:
    """What joining one view by its keys alone does to the rows."""

    view: str
    join_keys: tuple[str, ...]
    changed: float
    """Share of the rows in which some column that the service reads of the view differs."""
    from_future: float
    """Share of the rows whose newest feature row is later than they are."""


def compare_views(repo: FeatureRepo, spine: Spine, folder: Path, budget: int | None) -> list[ViewChange]:
    """Join `spine` both ways and compare every value, columns that only on-demand views read included.

    `budget`: bytes for both joins together; None: half of the free memory. Two missing values are the same, and so
    are two NaN. Raises what `FeatureRepo.plan_join` raises, and `FeatureStoreError` for another offline store.
    """
    names = [view.name for view in repo.spec.views]
    each = (budget or default_budget()) // 2

    def planned(kind: str, latest: list[str]) -> FeatureJoin:
        columns = (EVENT_TIMESTAMP, ROW_ID)
        join = repo.plan_join(spine, columns, folder=folder / kind, budget=each, latest_views=latest)
        join.prepare("local", lambda _: None)
        return join

    naive = planned("latest", names)  # first: refuses other offline stores before they join anything
    exact = planned("point-in-time", [])
    changed = np.zeros(len(naive.join.views), dtype=np.int64)
    future = np.zeros_like(changed)
    try:
        for bucket in range(exact.buckets):
            before, after = join_bucket(exact.join, bucket), join_bucket(naive.join, bucket)
            for index, view in enumerate(naive.join.views):
                changed[index] += _changed_rows(view, before, after)
                assert view.feature_timestamp is not None
                later = pc.greater(after[view.feature_timestamp], after[EVENT_TIMESTAMP])
                future[index] += pc.sum(later, min_count=0).as_py()
    finally:
        forget_views()
    rows = spine.num_rows
    return [
        ViewChange(view.name, view.spine_keys, float(changed[index]) / rows, float(future[index]) / rows)
        for index, view in enumerate(naive.join.views)
    ]


def _changed_rows(view: JoinView, before: pa.Table, after: pa.Table) -> int:
    differs = np.zeros(before.num_rows, dtype=bool)
    for _, name in view.columns:
        both = frame(pa.table({"before": before[name], "after": after[name]}))
        differs |= both.select(pl.col("before").ne_missing(pl.col("after"))).to_series().to_numpy()
    return int(np.count_nonzero(differs))
