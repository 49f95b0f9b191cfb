"""What a run leaves, in a folder or an object store: one module that knows what lies where.

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
from mtl_ray.data.staging import writable_place
from mtl_ray.errors import CheckpointError
from mtl_ray.storage import (
    below,
    cache_folder,
    check_bucket,
    is_file,
    is_remote,
    local_copy,
    mirror,
    newest_first,
    read_bytes,
    sizes,
    upload,
    write_bytes,
)

CHECKPOINTS = "checkpoints"
SUMMARY_FILE = "summary.json"
LATEST = "latest"

PACKAGES = ("mtl-ray", "torch", "ray", "feast", "pyarrow", "pandas", "numpy", "duckdb", "pydantic")


@dataclass(frozen=True)
class RunFolder:
    """One run."""

    path: Path
    """Its folder: this machine's mirror of it, without the checkpoints, where the run lies in an object store."""
    uri: str | None = None
    """Where it lies in an object store; None: in `path`."""

    @classmethod
    def create(cls, config: Config, training_set: dict[str, Any]) -> RunFolder:
        """A new folder `<storage>/<name>-<UTC time>` with config, environment and the training set's manifest."""
        stem = f"{config.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        local = writable_place(config.storage).absolute()
        name = stem
        number = 1
        while not _made(config.storage, local, name):
            number += 1
            name = f"{stem}-{number}"
        path = local / name
        run = cls(path, below(config.storage, name) if is_remote(config.storage) else None)
        write_config(path / "config.yaml", config)
        write_json(path / "environment.json", environment())
        write_json(path / "training_set.json", training_set)
        run.publish()
        return run

    @classmethod
    def at(cls, place: Path | str, config: Config) -> RunFolder:
        """The run in the folder or at the URI `place`, or a new one with its config alone."""
        if is_file(below(str(place), "config.yaml")):
            return cls.open(place)
        parent, name = str(place).rstrip("/").rsplit("/", 1)
        run = cls(cache_folder(parent) / name, str(place)) if is_remote(place) else cls(Path(place))
        run.path.mkdir(parents=True, exist_ok=True)
        write_config(run.path / "config.yaml", config)
        run.publish()
        return run

    @classmethod
    def open(cls, place: Path | str) -> RunFolder:
        """An existing run, by its folder or URI. Raises CheckpointError where there is none, StorageError where
        there is no bucket."""
        if is_remote(place):
            return cls._open_remote(str(place).rstrip("/"))
        path = Path(place)
        if not (path / "config.yaml").is_file():
            raise _no_run(str(path), "no config.yaml" if path.is_dir() else "no such folder")
        return cls(path)

    @classmethod
    def _open_remote(cls, uri: str) -> RunFolder:
        if uri.endswith(f"/{LATEST}") and is_file(uri):  # an object with the name of the run
            uri = below(uri.rsplit("/", 1)[0], read_bytes(uri).decode())
        if not is_file(below(uri, "config.yaml")):
            check_bucket(uri)
            raise _no_run(uri, "no config.yaml")
        parent, name = uri.rsplit("/", 1)
        return cls(mirror(uri, cache_folder(parent) / name, leave_out=(CHECKPOINTS,)), uri)

    @property
    def place(self) -> str:
        """Where it lies: its folder, or its URI."""
        return self.uri or str(self.path)

    def publish(self) -> None:
        """Send what is new in `path` to the object store that the run lies in, checkpoints left out."""
        if self.uri is not None:
            upload(self.path, self.uri, leave_out=(CHECKPOINTS,))

    @property
    def checkpoints(self) -> str:
        """Where the checkpoints are."""
        return below(self.place, CHECKPOINTS)

    def predictions(self, split: str) -> Path:
        """Folder of the predictions of the last evaluation on `split`."""
        return self.path / "evaluation" / "predictions" / split

    def config(self) -> Config:
        """The resolved config."""
        return load_config(self.path / "config.yaml")

    def summary(self) -> dict[str, Any]:
        """What training left. Raises CheckpointError where the run did not finish."""
        file = self.path / SUMMARY_FILE
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
        """Folder of the `best` or `last` checkpoint, or of the one with that folder name; this machine's mirror of it
        where the run lies in an object store."""
        name = str(self.summary().get("checkpoints", {}).get(which, which))
        present = self._checkpoint_names()
        if name not in present:
            raise CheckpointError(
                "The run has no such checkpoint.",
                where=self.checkpoints,
                found=which,
                allowed=", ".join(["best", "last", *present]),
            )
        return local_copy(below(self.checkpoints, name))

    def checkpoint_place(self, name: str) -> str:
        """Where every process can read the checkpoint with that folder name."""
        return below(self.checkpoints, name)

    def _checkpoint_names(self) -> list[str]:
        if self.uri is None:
            return sorted(folder.name for folder in (self.path / CHECKPOINTS).glob("checkpoint_*"))
        return sorted({name.split("/")[0] for name in sizes(self.checkpoints) if name.startswith("checkpoint_")})


def unfinished_run(config: Config, any_batch_size: bool = False) -> RunFolder | None:
    """The newest run in the storage that has exactly this config and has not ended; None where there is none.

    `any_batch_size`: `training.global_batch_size` need not be the same. What the config leaves to the machine in
    `training.placement` was chosen when the run began.
    """
    for name in newest_first(config.storage, f"{config.name}-*/config.yaml"):
        run = RunFolder.open(below(config.storage, name.rsplit("/", 1)[0]))
        if (run.path / SUMMARY_FILE).is_file():
            continue
        theirs = run.config()
        chosen = ["global_batch_size"] if any_batch_size else []
        chosen += ["placement"] if config.training.placement == "auto" else []
        own = {name: getattr(theirs.training, name) for name in chosen}
        if theirs == config.model_copy(update={"training": config.training.model_copy(update=own)}):
            return run
    return None


def newest_run(storage: str, name: str) -> RunFolder | None:
    """The run of that name in the storage that has ended last; None where there is none."""
    for file in newest_first(storage, f"{name}-*/{SUMMARY_FILE}"):
        run = RunFolder.open(below(storage, file.rsplit("/", 1)[0]))
        if run.config().name == name:  # and not another one that begins alike
            return run
    return None


def mark_latest(run: RunFolder) -> None:
    """Let `<storage>/latest` point to `run`: a symbolic link, where the file system has them, or an object with its
    name."""
    if run.uri is not None:
        parent, name = run.uri.rsplit("/", 1)
        write_bytes(below(parent, LATEST), name.encode())
        return
    link = run.path.parent / LATEST
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


def _made(storage: str, local: Path, name: str) -> bool:
    """Make the folder of a new run; False where there is a run of that name already."""
    if is_remote(storage) and is_file(below(storage, name, "config.yaml")):
        return False
    try:
        (local / name).mkdir()
    except FileExistsError:
        return False
    return True


def _no_run(place: str, found: str) -> CheckpointError:
    return CheckpointError(
        "This folder holds no run.",
        where=place,
        found=found,
        allowed="a folder that jobs/train.py printed as `run`",
    )


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
