"""A Feast repo in which it is known which views leak: each order is one spine row with a view or two of its own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mtl_ray.config import Config, parse_config
from tests.tiny_shop import TIMESTAMP, apply_repo, at

ROWS = 3000
USERS = 100
END = ROWS + 10_000


def write(folder: Path) -> None:
    """Spine of `ROWS` orders a second apart, `bought` at random, and the sources of four views."""
    draw = np.random.default_rng(7)
    bought = draw.integers(0, 2, ROWS)
    order = np.arange(ROWS)
    (folder / "spine").mkdir(parents=True)
    spine = {
        "order_id": pa.array(order),
        "user_id": pa.array(order % USERS),
        "event_timestamp": pa.array([at(row) for row in range(ROWS)], TIMESTAMP),
        "bought": pa.array(bought),
        "amount": pa.array(draw.normal(size=ROWS)),
    }
    pq.write_table(pa.table(spine), folder / "spine" / "part-0.parquet")
    # The outcome, known a minute after the order: nothing was known at the order itself.
    source(folder, "outcome", "order_id", order, order + 60.0, bought)
    # A hint, known a minute before: newest or not, it is the same row.
    source(folder, "hint", "order_id", order, order - 60.0, bought + 2.0 * draw.normal(size=ROWS))
    # Written every quarter, never with a word about any order.
    times = np.repeat(np.linspace(-100, END, 5), USERS)
    source(folder, "mood", "user_id", np.tile(np.arange(USERS), 5), times, draw.normal(size=5 * USERS))


def source(folder: Path, name: str, key: str, keys: np.ndarray, seconds: np.ndarray, values: np.ndarray) -> None:
    """A Parquet file of one feature."""
    columns = {
        key: pa.array(keys),
        name: pa.array(values.astype(np.float64)),
        "event_timestamp": pa.array([at(float(second)) for second in seconds], TIMESTAMP),
    }
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")


def definitions(folder: Path) -> list[Any]:
    """Views `outcome`, `hint` and `mood` (with a ttl), and the service `planted_v1`."""
    from feast import Entity, FeatureService, FeatureView, Field, FileSource
    from feast.types import Float64
    from feast.value_type import ValueType

    order = Entity(name="order", join_keys=["order_id"], value_type=ValueType.INT64)
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)

    def view(name: str, entity: Any) -> Any:
        data = FileSource(name=name, path=str(folder / f"{name}.parquet"), timestamp_field="event_timestamp")
        field = Field(name=name, dtype=Float64)
        return FeatureView(name=name, entities=[entity], ttl=timedelta(days=30), schema=[field], source=data)

    views = [view("outcome", order), view("hint", order), view("mood", user)]
    return [order, user, *views, FeatureService(name="planted_v1", features=views)]


def planted(root: Path, **changes: Any) -> Config:
    """The repo applied, and a config for it."""
    write(root / "data")
    apply_repo(root / "repo", definitions(root / "data"))
    tree: dict[str, Any] = {
        "name": "planted",
        "storage": str(root / "runs"),
        "features": {"repo": str(root / "repo"), "service": "planted_v1"},
        "training_set": {"spine": str(root / "data" / "spine"), "split": {"validation": 0.1, "test": 0.3}},
        "tasks": {"bought": {"type": "binary"}, "amount": {"type": "regression"}},
        "model": {"name": "shared_bottom", "bottom": [16], "tower": [8]},
        "training": {"optimizer": {"learning_rate": 0.01}},
    }
    return parse_config({**tree, **changes})
