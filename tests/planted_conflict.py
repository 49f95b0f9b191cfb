"""Two tasks that pull one hidden unit in opposite directions, and cannot both have it.

    P(left = 1)  = sigmoid(s (x + 2 z) / sqrt 5)        P(right = 1) = sigmoid(s (x - 2 z) / sqrt 5)

with x, z standard normal and s = 4. A single unit looks in one direction; that of a bottom of one unit is the same for
both, and whichever it is, one task or both lose what the other half of their sum says. With an expert of its own each
task reaches what it reaches alone.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.tiny_shop import TIMESTAMP, apply_repo, at

TASKS = ("left", "right")
SLOPE = 4.0

NARROW: dict[str, Any] = {"tower": [], "activation": "silu"}
"""One hidden unit, of a smooth activation: a rectified one may die at the start."""

SHARED: dict[str, Any] = {"name": "shared_bottom", "bottom": [1], **NARROW}
ALONE: dict[str, Any] = {"name": "single_task", "bottom": [1], **NARROW}
EXPERTS: dict[str, dict[str, Any]] = {
    "mmoe": {"num_experts": 4, "expert": [1]},
    "cgc": {"task_experts": 1, "shared_experts": 1, "expert": [1]},
    "ple": {"task_experts": 1, "shared_experts": 1, "levels": [[1], [1]]},
    "stem": {"expert": [1]},
    "home": {"num_experts": 1, "meta": [1], "expert": [1], "norm": "none"},
}
"""Structures in which a task can have an expert for itself, each expert as narrow as the bottom."""


def rows(number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features x, z and labels of both tasks, float32 `[number, 2]` each."""
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(number, 2))
    logits = SLOPE * features @ np.array([[1.0, 1.0], [2.0, -2.0]]) / np.sqrt(5.0)
    labels = draw.random((number, 2)) < 1.0 / (1.0 + np.exp(-logits))
    return features.astype(np.float32), labels.astype(np.float32)


def config(root: Path, number: int = 6000, seed: int = 0) -> dict[str, Any]:
    """A Feast repo of such rows, applied, and a config of the shared bottom for it."""
    features, labels = rows(number, seed)
    keys = pa.array(np.arange(number))
    times = pa.array([at(row) for row in range(number)], TIMESTAMP)
    (root / "data" / "spine").mkdir(parents=True)
    columns = {name: pa.array(labels[:, task].astype(np.int64)) for task, name in enumerate(TASKS)}
    spine = pa.table({"event_id": keys, "event_timestamp": times, **columns})
    pq.write_table(spine, root / "data" / "spine" / "part-0.parquet")
    inputs = {name: pa.array(features[:, at_].astype(np.float64)) for at_, name in enumerate("xz")}
    pq.write_table(pa.table({"event_id": keys, "event_timestamp": times, **inputs}), root / "data" / "inputs.parquet")
    apply_repo(root / "repo", _definitions(root / "data" / "inputs.parquet"))
    return {
        "name": "shared",
        "storage": str(root / "runs"),
        "features": {"repo": str(root / "repo"), "service": "conflict_v1"},
        "training_set": {
            "spine": str(root / "data" / "spine"),
            "split": {"by": "random", "validation": 0.1, "test": 0.3, "seed": 0},
        },
        "tasks": {name: {"type": "binary"} for name in TASKS},
        "model": SHARED,
        "training": {
            "epochs": 3,
            "global_batch_size": 50,
            "workers": 1,
            "optimizer": {"learning_rate": 0.03},
            "schedule": {"decay": "constant"},
        },
        "evaluation": {"replicates": 100},
    }


def _definitions(file: Path) -> list[Any]:
    from feast import Entity, FeatureService, FeatureView, Field, FileSource
    from feast.types import Float64
    from feast.value_type import ValueType

    event = Entity(name="event", join_keys=["event_id"], value_type=ValueType.INT64)
    source = FileSource(name="inputs", path=str(file), timestamp_field="event_timestamp")
    fields = [Field(name=name, dtype=Float64) for name in "xz"]
    view = FeatureView(name="inputs", entities=[event], ttl=timedelta(days=30), schema=fields, source=source)
    return [event, view, FeatureService(name="conflict_v1", features=[view])]
