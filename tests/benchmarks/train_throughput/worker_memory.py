"""Peak memory of the Ray Train workers that this process's job runs."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import TracebackType

import psutil

NAME = "RayTrainWorker"
"""In the title that Ray gives a worker's process."""
EVERY = 2.0
"""Seconds between two looks."""


class WorkerMemory:
    """Inside, the private memory (resident, less what is shared: the object store's blocks, libraries) of each worker
    is watched; `peak_mb` is that of the largest, in 1e6 bytes."""

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> WorkerMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        workers: dict[int, psutil.Process] = {}
        while not self._done.wait(EVERY):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    if process.pid not in workers and any(NAME in part for part in process.cmdline()):
                        workers[process.pid] = process
            for process in workers.values():
                with suppress(psutil.NoSuchProcess):
                    memory = process.memory_info()
                    self.peak_mb = max(self.peak_mb, (memory.rss - memory.shared) / 1e6)
