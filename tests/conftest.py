"""One Ray for all tests that need it, and the simulated shop as a Feast repository of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Shop:
    """A small simulated shop: its data, its applied feature repository and a config for it."""

    root: Path
    config: dict[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which the feature repository finds this shop's data."""
        return {**os.environ, "ECOMMERCE_DATA": str(self.root / "data")}


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Prepared by the job and applied by the `feast` command, as a user would."""
    root = tmp_path_factory.mktemp("shop")
    from mtl_ray.datasets import prepare

    prepare("ecommerce", root / "data", None, num_users=300, num_items=120, num_days=12, num_impressions=12_000)
    shutil.copytree(ROOT / "feature_repo", root / "feature_repo", ignore=shutil.ignore_patterns("data", "__pycache__"))
    config = {
        "name": "small",
        "storage": str(root / "runs"),
        "features": {
            "repo": str(root / "feature_repo"),
            "service": "ranking_mtl_v1",
            "keys": ["user_id", "item_id"],
        },
        "training_set": {
            "spine": str(root / "data" / "spine"),
            "split": {"by": "time", "validation": 0.1, "test": 0.15},
        },
        "tasks": {
            "click": {"type": "binary"},
            "purchase": {"type": "binary"},
            "order_value": {"type": "regression", "transform": "log1p", "observed_when": "purchase", "weight": 0.3},
            "rating": {"type": "multiclass", "classes": [1, 2, 3, 4, 5], "weight": 0.3},
        },
        "model": {"name": "mmoe", "num_experts": 3, "expert": [16], "tower": [8], "encoder": {"embedding_dim": 4}},
        "training": {
            "epochs": 2,
            "global_batch_size": 512,
            "workers": 2,
            "cpus_per_worker": 1,
            "shuffle_window": 2048,
        },
        "evaluation": {"group_by": "user_id", "truth": str(root / "data" / "truth"), "replicates": 20},
    }
    shop = Shop(root, config)
    feast = Path(sys.executable).parent / "feast"
    subprocess.run([feast, "apply"], cwd=root / "feature_repo", env=shop.environment, check=True, capture_output=True)
    before = os.environ.get("ECOMMERCE_DATA")
    os.environ["ECOMMERCE_DATA"] = str(root / "data")
    yield shop
    if before is None:
        del os.environ["ECOMMERCE_DATA"]
    else:
        os.environ["ECOMMERCE_DATA"] = before


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local Ray with more logical CPUs than any test's workers take."""
    import ray

    ray.init(address="local", num_cpus=6, include_dashboard=False, log_to_driver=False, logging_level="WARNING")
    yield
    ray.shutdown()
