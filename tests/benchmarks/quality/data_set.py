"""A data set from raw data to one snapshot, as the jobs make it, in a process of its own (Feast takes memory)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtl_ray.config import Config, load_config
from mtl_ray.data.snapshot import Snapshot, build_training_set
from mtl_ray.datasets import prepare
from tests.benchmarks.measure import Side, measure
from tests.benchmarks.results import say

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Source:
    """Where a data set's config and Feast repository lie in this repository."""

    config: Path
    feature_repo: Path
    variable: str
    """Environment variable that tells the Feast repository where the prepared tables lie."""
    quick: dict[str, Any]
    """Options of `prepare` for a quick run."""


SOURCES = {
    "kuairand": Source(
        Path("jobs/examples/kuairand/config.yaml"),
        Path("jobs/examples/kuairand/feature_repo"),
        "KUAIRAND_DATA",
        {"spine_from": "2022-05-03"},
    ),
    "ecommerce": Source(
        Path("jobs/configs/ecommerce_mmoe.yaml"),
        Path("feature_repo"),
        "ECOMMERCE_DATA",
        {"num_users": 400, "num_items": 150, "num_days": 14, "num_impressions": 20_000},
    ),
}


@dataclass(frozen=True)
class Prepared:
    """What every training reads."""

    snapshot: str
    """Folder."""
    config: dict[str, Any]
    """The data set's own config, resolved, as a tree; one worker."""


@dataclass(frozen=True)
class Preparation:
    """Feature tables and spine (written once), an applied Feast repository, a snapshot (found or built)."""

    dataset: str
    folder: Path
    raw: Path | None
    quick: bool
    overrides: tuple[str, ...]

    def warm_up(self) -> None:
        """Nothing."""

    def run(self) -> tuple[Snapshot, Config]:
        """Write what is not there."""
        source = SOURCES[self.dataset]
        data = self.folder / "data"
        if not data.exists():
            prepare(self.dataset, data, self.raw, **(source.quick if self.quick else {}))
        repo = applied(source, self.folder / "repository", data)
        config = load_config(ROOT / source.config, self._overrides(repo, data))
        snapshot = build_training_set(
            config.storage, config.features, config.training_set, config.tasks, config.evaluation.group_by
        )
        return snapshot, config

    def check(self, result: tuple[Snapshot, Config]) -> dict[str, Any]:
        """Where the snapshot lies, the config, and the rows."""
        snapshot, config = result
        return {
            "snapshot": str(snapshot.path.absolute()),
            "config": config.model_dump(mode="json"),
            "rows": snapshot.manifest.rows,
        }

    def _overrides(self, repo: Path, data: Path) -> list[str]:
        found = [
            f"storage={self.folder / 'training'}",
            f"features.repo={repo}",
            f"training_set.spine={data / 'spine'}",
            "training.workers=1",
        ]
        if (data / "truth").exists():
            found.append(f"evaluation.truth={data / 'truth'}")
        return [*found, *self.overrides]


def applied(source: Source, root: Path, data: Path) -> Path:
    """A copy of the Feast repository below `root`, at the place that it has in this repository, after `feast apply`."""
    repo = root / source.feature_repo
    shutil.rmtree(repo, ignore_errors=True)
    shutil.copytree(ROOT / source.feature_repo, repo, ignore=shutil.ignore_patterns("data", "__pycache__"))
    feast = Path(sys.executable).parent / "feast"
    environment = {**os.environ, source.variable: str(data)}
    done = subprocess.run([feast, "apply"], cwd=repo, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"feast apply in {repo}: {done.stderr.strip().splitlines()[-1]}")
    return repo


def preparation(dataset: str, folder: str, raw: str | None, quick: bool, overrides: list[str]) -> Side:
    """Target of `measure`."""
    return Preparation(dataset, Path(folder), None if raw is None else Path(raw), quick, tuple(overrides))


def prepared(dataset: str, folder: Path, raw: Path | None, quick: bool, overrides: list[str]) -> Prepared:
    """The data set in `folder`. Raises RuntimeError where it cannot be prepared."""
    arguments = {
        "dataset": dataset,
        "folder": str(folder.absolute()),
        "raw": None if raw is None else str(raw.absolute()),
        "quick": quick,
        "overrides": overrides,
    }
    found = measure("tests.benchmarks.quality.data_set:preparation", arguments)
    if found.error is not None:
        raise RuntimeError(f"{dataset} could not be prepared: {found.error}")
    rows = ", ".join(f"{part} {count:,}" for part, count in found.figures["rows"].items())
    say(f"· {dataset}: {rows} rows in {found.figures['snapshot']}", markup=False)
    return Prepared(found.figures["snapshot"], found.figures["config"])
