"""Two million rows of 20 categorical features, 13 numbers and three labels, from a feature store to a snapshot."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mtl_ray.config import Config, parse_config
from mtl_ray.data.snapshot import Snapshot, build_training_set
from tests.benchmarks.measure import Side

VOCABULARIES = (1_000_000, 300_000, 100_000, 100_000, 30_000, 30_000, 10_000, 10_000, *(3_000,) * 4, *(1_000,) * 8)
"""Ids that each of the 20 features can take."""
NUMBERS = 13
TASKS = {"click": 0.2, "cart": 0.05, "purchase": 0.02}
"""Base rates."""
USERS = 10_000
START = datetime(2026, 1, 1, tzinfo=UTC)

SETTINGS = """\
project: throughput
provider: local
registry: registry.db
offline_store: {type: mtl_ray.data.offline_store.PointInTimeOfflineStore}
online_store: {type: sqlite, path: online.db}
entity_key_serialization_version: 3
"""

DEFINITIONS = """\
from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.types import Float64
from feast.value_type import ValueType

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
profile = FeatureView(
    name="profile",
    entities=[user],
    ttl=timedelta(0),
    schema=[Field(name="n0", dtype=Float64)],
    source=FileSource(name="users", path={path!r}, timestamp_field="event_timestamp"),
)
service = FeatureService(name="throughput_v1", features=[profile])
"""


@dataclass(frozen=True)
class Preparation:
    """Spine, an applied Feast repository and the snapshot; each is written once."""

    folder: Path
    rows: int
    ids: int

    def warm_up(self) -> None:
        """Nothing."""

    def run(self) -> Snapshot:
        """Write what is not there."""
        repo = self.folder / "feature_repo"
        if not repo.exists():
            write_spine(self.folder / "spine", self.rows, self.ids)
            write_repo(repo)
        config = configured(str(self.folder), workers=1)
        return build_training_set(config.storage, config.features, config.training_set, config.tasks)

    def check(self, result: Snapshot) -> dict[str, Any]:
        """Where it is, and how large."""
        return {
            "snapshot": str(result.path.absolute()),
            "rows": result.manifest.rows,
            "embedding_rows": sum(result.schema.vocabularies.values()),
        }


def preparation(folder: str, rows: int, ids: int = max(VOCABULARIES)) -> Side:
    """Target of `measure`; `ids`: at most so many of a feature."""
    return Preparation(Path(folder), rows, ids)


def configured(
    folder: str,
    workers: int,
    epochs: int = 1,
    per_worker: int = 4096,
    embeddings: str = "rowwise_adagrad",
    precision: str = "fp32",
) -> Config:
    """The config of a training with `per_worker` rows a worker and step."""
    root = Path(folder)
    return parse_config(
        {
            "name": "throughput",
            "storage": str(root / "storage"),
            "features": {
                "repo": str(root / "feature_repo"),
                "service": "throughput_v1",
                "context": {
                    **{f"c{number}": "categorical" for number in range(len(VOCABULARIES))},
                    **{f"n{number}": "numeric" for number in range(1, NUMBERS)},
                },
            },
            "training_set": {
                "spine": str(root / "spine"),
                "split": {"by": "random", "validation": 0.005, "test": 0.005},
            },
            "tasks": {name: {"type": "binary"} for name in TASKS},
            "model": {
                "name": "mmoe",
                "num_experts": 4,
                "expert": [256, 128],
                "tower": [64],
                "encoder": {"embedding_dim": 16},
            },
            "training": {
                "epochs": epochs,
                "global_batch_size": per_worker * workers,
                "workers": workers,
                "precision": precision,
                "optimizer": {"embeddings": {"name": embeddings}},
                "early_stopping": {"patience": None},
            },
        }
    )


def write_spine(folder: Path, rows: int, most_ids: int) -> None:
    """`rows` rows in files of at most a quarter of a million; ids are skewed, labels follow some of them."""
    folder.mkdir(parents=True)
    effects = np.random.default_rng(0).normal(size=(len(TASKS), 3, 1000))
    for at, begin in enumerate(range(0, rows, 250_000)):
        random = np.random.default_rng([1, at])
        count = min(250_000, rows - begin)
        sizes = [min(size, most_ids) for size in VOCABULARIES]
        ids = [(size * random.random(count) ** 2).astype(np.int64) for size in sizes]
        numbers = random.normal(size=(NUMBERS, count))
        columns: dict[str, Any] = {
            "user_id": random.integers(0, USERS, count),
            "event_timestamp": pa.array(
                [START + timedelta(days=1, seconds=begin + row) for row in range(count)], pa.timestamp("us", "UTC")
            ),
        }
        columns |= {f"c{number}": values for number, values in enumerate(ids)}
        columns |= {f"n{number}": numbers[number] for number in range(1, NUMBERS)}
        for (name, rate), effect in zip(TASKS.items(), effects, strict=True):
            known = sum(own[values % 1000] for own, values in zip(effect, ids, strict=False))
            score = np.log(rate / (1 - rate)) + 0.5 * known + 0.5 * numbers[1]
            columns[name] = (random.random(count) < 1 / (1 + np.exp(-score))).astype(np.int8)
        pq.write_table(pa.table(columns), folder / f"part-{at:03d}.parquet")


def write_repo(folder: Path) -> None:
    """A Feast repository with one view of the users, applied."""
    folder.mkdir(parents=True)
    users = {
        "user_id": np.arange(USERS),
        "n0": np.random.default_rng(2).normal(size=USERS),
        "event_timestamp": pa.array([START] * USERS, pa.timestamp("us", "UTC")),
    }
    pq.write_table(pa.table(users), folder / "users.parquet")
    (folder / "feature_store.yaml").write_text(SETTINGS)
    (folder / "definitions.py").write_text(DEFINITIONS.format(path=str((folder / "users.parquet").absolute())))
    feast = Path(sys.executable).parent / "feast"
    subprocess.run([feast, "apply"], cwd=folder, check=True, capture_output=True)
