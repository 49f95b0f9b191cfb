"""What is trained on beside KuaiRand: a small simulated shop, and two tasks with a planted conflict."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mtl_ray.config import parse_config
from mtl_ray.data.snapshot import build_training_set
from mtl_ray.datasets import prepare
from tests import planted_conflict
from tests.benchmarks.measure import Side, measure
from tests.benchmarks.quality.data_set import Prepared, prepared

SHOP = {"num_users": 1000, "num_items": 300, "num_days": 21, "num_impressions": 60_000}
SHOP_SETTINGS = (
    # A fifth of the rows in the test part: purchases are rare. Small batches: learnt weights need steps to move.
    "training_set.split.test=0.2",
    "training.global_batch_size=256",
    "training.epochs=4",
)
PLANTED_ROWS, QUICK_PLANTED_ROWS = 20_000, 3_000
TOGETHER = "together"


def small_shop(folder: Path, quick: bool, overrides: list[str]) -> Prepared:
    """The simulator with about 60,000 impressions (quick: what the quality benchmark takes)."""
    if not quick and not (folder / "data").exists():
        prepare("ecommerce", folder / "data", None, **SHOP)
    return prepared("ecommerce", folder, None, quick, [*SHOP_SETTINGS, *overrides])


@dataclass(frozen=True)
class Planted:
    """Two tasks in conflict, and each by itself: `tests.planted_conflict`, one snapshot for each."""

    root: Path
    rows: int

    def warm_up(self) -> None:
        """Nothing."""

    def run(self) -> dict[str, Prepared]:
        """`TOGETHER`, then task by task; the parts hold the same rows."""
        tree = planted_conflict.config(self.root, self.rows)
        subsets = {TOGETHER: planted_conflict.TASKS, **{task: (task,) for task in planted_conflict.TASKS}}
        return {name: self._of(tree, tasks) for name, tasks in subsets.items()}

    def check(self, result: Mapping[str, Prepared]) -> dict[str, Any]:
        """Where they lie."""
        return {name: asdict(one) for name, one in result.items()}

    def _of(self, tree: dict[str, Any], tasks: tuple[str, ...]) -> Prepared:
        config = parse_config({**tree, "tasks": {name: tree["tasks"][name] for name in tasks}})
        snapshot = build_training_set(config.storage, config.features, config.training_set, config.tasks, None)
        return Prepared(str(snapshot.path.absolute()), config.model_dump(mode="json"))


def planted(root: str, rows: int) -> Side:
    """Target of `measure`."""
    return Planted(Path(root), rows)


def planted_sets(folder: Path, rows: int) -> dict[str, Prepared]:
    """Those of `Planted.run`, written or found. Raises RuntimeError where they cannot be prepared."""
    kept = folder / "planted.json"
    if not kept.exists():
        shutil.rmtree(folder, ignore_errors=True)
        arguments = {"root": str(folder.absolute()), "rows": rows}
        found = measure("tests.benchmarks.balancing_quality.data_sets:planted", arguments)
        if found.error is not None:
            raise RuntimeError(f"the planted conflict could not be prepared: {found.error}")
        kept.write_text(json.dumps(found.figures))
    return {name: Prepared(**one) for name, one in json.loads(kept.read_text()).items()}
