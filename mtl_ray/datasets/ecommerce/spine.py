"""The spine (who was shown what, when, and what they did) and the true probabilities beside it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mtl_ray.datasets.ecommerce.calendar import DAY, HOUR, SECOND
from mtl_ray.datasets.ecommerce.funnel import NEVER
from mtl_ray.datasets.ecommerce.sessions import DEVICES
from mtl_ray.datasets.ecommerce.simulation import Shop
from mtl_ray.datasets.tables import named, nullable, timestamps
from mtl_ray.metrics import RankingMetrics

BINARY_TASKS = ("click", "cart", "purchase")


def spine(shop: Shop) -> pa.Table:
    """Impressions since `spine_start` in the order of time: keys, context (device, hour of the day in UTC), labels.

    order_value is null where nothing was purchased, rating where nothing was rated.
    """
    rows = _rows(shop)
    outcomes, impressions = shop.outcomes, shop.impressions
    columns: dict[str, Any] = _keys(shop, rows)
    columns["device"] = named(impressions.device[rows], DEVICES)
    columns["hour"] = pa.array(impressions.timestamp[rows] % DAY // HOUR)
    for task in BINARY_TASKS:
        columns[task] = pa.array(_label(shop, task)[rows].astype(np.int64))
    columns["order_value"] = nullable(outcomes.order_value[rows])
    columns["rating"] = nullable(outcomes.rating[rows], dtype=pa.int64())
    return pa.table(columns)


def truth(shop: Shop) -> pa.Table:
    """The same rows with the true unconditional probability of each binary task."""
    rows = _rows(shop)
    columns: dict[str, Any] = _keys(shop, rows)
    for task in BINARY_TASKS:
        columns[task] = pa.array(shop.outcomes.probability[task][rows])
    return pa.table(columns)


def summarise(shop: Shop) -> dict[str, Any]:
    """Rows, time range, label rates and the ROC-AUC of the true probabilities on all rows of the spine."""
    rows = _rows(shop)
    time = shop.impressions.timestamp[rows]
    labels = {task: _label(shop, task)[rows] for task in BINARY_TASKS}
    value, rating = shop.outcomes.order_value[rows], shop.outcomes.rating[rows]
    return {
        "rows": int(rows.size),
        "users": int(np.unique(shop.impressions.user[rows]).size),
        "items": int(np.unique(shop.impressions.item[rows]).size),
        "first_event": _iso(time[0]),
        "last_event": _iso(time[-1]),
        "labels": {
            **{task: {"observed": int(rows.size), "mean": float(label.mean())} for task, label in labels.items()},
            "order_value": _observed(value),
            "rating": _observed(rating),
        },
        "attainable_roc_auc": {
            task: _roc_auc(label, shop.outcomes.probability[task][rows]) for task, label in labels.items()
        },
    }


def _rows(shop: Shop) -> NDArray[np.int64]:
    return np.flatnonzero(shop.impressions.timestamp >= shop.calendar.spine_start)


def _keys(shop: Shop, rows: NDArray[np.int64]) -> dict[str, pa.Array]:
    return {
        "user_id": pa.array(shop.impressions.user[rows] + 1),
        "item_id": pa.array(shop.impressions.item[rows] + 1),
        "event_timestamp": timestamps(shop.impressions.timestamp[rows]),
    }


def _label(shop: Shop, task: str) -> NDArray[np.bool_]:
    happened: NDArray[np.bool_] = getattr(shop.outcomes, f"{task}_time") != NEVER
    return happened


def _observed(values: NDArray[np.float64]) -> dict[str, Any]:
    seen = values[~np.isnan(values)]
    return {"observed": int(seen.size), "mean": float(seen.mean()) if seen.size else None}


def _roc_auc(label: NDArray[np.bool_], score: NDArray[np.float64]) -> float | None:
    """None unless both classes occur."""
    ranking = RankingMetrics()
    ranking.update(score, label)
    value = ranking.compute()["roc_auc"]
    return value if np.isfinite(value) else None


def _iso(microseconds: int) -> str:
    return datetime.fromtimestamp(int(microseconds) / SECOND, tz=UTC).isoformat(timespec="seconds")
