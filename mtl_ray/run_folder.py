"""The folder that a run leaves: one place that knows what lies where.

config.yaml  environment.json  training_set.json  metrics.jsonl  summary.json
checkpoints/  tensorboard/  evaluation/  profile/  report.html
"""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from mtl_ray.config import Config, load_config
from mtl_ray.data.staging import writable_folder
from mtl_ray.errors import CheckpointError

PACKAGES = ("mtl-ray", "torch", "ray", "feast", "pyarrow", "pandas", "numpy", "duckdb", "pydantic")


@dataclass(frozen=True)
class RunFolder:
    """One run on disk."""

    path: Path

    @classmethod
    def create(cls, config: Config, training_set: dict[str, Any]) -> RunFolder:
        """A new folder `<storage>/<name>-<UTC time>` with config, environment and the training set's manifest."""
        stem = f"{config.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        storage = writable_folder(config.storage).absolute()
        path = storage / stem
        number = 1
        while True:
            try:
                path.mkdir()
                break
            except FileExistsError:
                number += 1
                path = storage / f"{stem}-{number}"
        run = cls(path)
        write_config(path / "config.yaml", config)
        write_json(path / "environment.json", environment())
        write_json(path / "training_set.json", training_set)
        return run

    @classmethod
    def at(cls, path: Path | str, config: Config) -> RunFolder:
        """The run in the folder `path`, or a new one with its config alone."""
        path = Path(path)
        if not (path / "config.yaml").is_file():
            path.mkdir(parents=True, exist_ok=True)
            write_config(path / "config.yaml", config)
        return cls(path)

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """An existing run. Raises CheckpointError where the folder holds none."""
        path = Path(path)
        if not (path / "config.yaml").is_file():
            raise CheckpointError(
                "This folder holds no run.",
                where=str(path),
                found="no config.yaml" if path.is_dir() else "no such folder",
                allowed="a folder that jobs/train.py printed as `run`",
            )
        return cls(path)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def predictions(self, split: str) -> Path:
        """Folder of the predictions of the last evaluation on `split`."""
        return self.path / "evaluation" / "predictions" / split

    def config(self) -> Config:
        """The resolved config."""
        return load_config(self.path / "config.yaml")

    def summary(self) -> dict[str, Any]:
        """What training left. Raises CheckpointError where the run did not finish."""
        file = self.path / "summary.json"
        try:
            summary = json.loads(file.read_text())
        except FileNotFoundError as error:
            raise CheckpointError(
                "This run has not finished training: it has no summary.json.",
                where=str(self.path),
                fix="train again",
            ) from error
        except ValueError as error:
            raise CheckpointError("The run's summary is damaged.", where=str(file), found=str(error)) from error
        if not isinstance(summary, dict):
            raise CheckpointError("The run's summary is damaged.", where=str(file), found=type(summary).__name__)
        return summary

    def checkpoint(self, which: str = "best") -> Path:
        """Folder of the `best` or `last` checkpoint, or of the one with that folder name."""
        name = self.summary().get("checkpoints", {}).get(which, which)
        path = self.checkpoints / str(name)
        if not path.is_dir():
            present = sorted(folder.name for folder in self.checkpoints.glob("checkpoint_*"))
            raise CheckpointError(
                "The run has no such checkpoint.",
                where=str(self.checkpoints),
                found=which,
                allowed=", ".join(["best", "last", *present]),
            )
        return path


def mark_latest(run: RunFolder) -> None:
    """Let `<storage>/latest` point to `run`, where the file system has symbolic links."""
    link = run.path.parent / "latest"
    if link.is_symlink() or not link.exists():
        aside = link.with_name(f".latest-{run.path.name}")  # of its own: runs of a comparison end at the same time
        aside.unlink(missing_ok=True)
        try:
            aside.symlink_to(run.path.name)
        except OSError:  # the file system has none, and nothing needs this one
            return
        aside.replace(link)


def write_config(path: Path, config: Config) -> None:
    """Write the resolved config as YAML, which `jobs/train.py --config` reads."""
    path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def write_json(path: Path, value: Any) -> None:
    """Write JSON beside `path` and move it there, so that a reader never sees half of it."""
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(value, indent=2, default=str))
    aside.replace(path)


def environment() -> dict[str, Any]:
    """Versions and machine, for whoever wants to repeat the run."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": versions,
    }
