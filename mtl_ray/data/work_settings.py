"""Where, within what and how loudly a retrieval job works."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mtl_ray.data.task_runner import RunsOn
from mtl_ray.errors import StorageError
from mtl_ray.machine_memory import default_budget

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkSettings:
    """Where and within what a job works; see `PointInTimeOfflineStoreConfig`."""

    memory_budget: int | None = None
    work_folder: Path | None = None
    runs_on: Literal["auto", "local", "ray"] = "auto"
    progress: bool | None = None
    repo_path: Path | None = None

    def place(self) -> RunsOn:
        """Where partitions are joined."""
        if self.runs_on == "auto":
            return "ray" if _ray_connected() else "local"
        if self.runs_on == "ray":
            connect_ray()
        return self.runs_on

    def budget(self, place: RunsOn) -> int:
        """Bytes for one process."""
        if self.memory_budget is not None:
            return self.memory_budget
        if place == "local":
            return default_budget()
        import ray

        cores = [int(node["Resources"].get("CPU", 1)) for node in ray.nodes() if node["Alive"]]
        return default_budget() // max(1, *cores)

    def say(self) -> Callable[[str], None]:
        """Where progress goes."""
        shown = sys.stderr.isatty() if self.progress is None else self.progress
        if not shown:
            return logger.info
        from rich.console import Console

        console = Console(stderr=True)
        return lambda sentence: console.print(f"· {sentence}", highlight=False, markup=False, soft_wrap=True)

    def new_folder(self) -> Path:
        """A folder of this job's own. Raises `StorageError` where it cannot be made."""
        try:
            if self.work_folder is not None:
                self.work_folder.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix="point-in-time-", dir=self.work_folder))
        except OSError as error:
            raise StorageError(
                "The work folder of the point-in-time join cannot be written.",
                where=f"offline_store.work_folder = {self.work_folder or tempfile.gettempdir()}",
                found=error.strerror or str(error),
                fix="name a folder that can be written: offline_store.work_folder in feature_store.yaml",
            ) from error

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder of this job's own that is removed afterwards."""
        folder = self.new_folder()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _ray_connected() -> bool:
    ray: Any = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def connect_ray() -> None:
    """To the cluster that RAY_ADDRESS names, or to a new one of this machine, until this process ends."""
    import ray

    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level="ERROR")
