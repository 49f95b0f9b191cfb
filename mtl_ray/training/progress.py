"""What workers tell the driver while they train: records through an actor, shown and stored as they arrive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

Record = dict[str, Any]

POLL_SECONDS = 1.0
"""Between two looks at the board. Each takes a bit of the ranks' time where they share the driver's cores."""


class ProgressBoard:
    """Ray actor that keeps the records of rank 0 until the driver fetches them."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._failure: str | None = None

    def fail(self, words: str) -> None:
        """A rank met an error that would come again; the first one counts."""
        self._failure = self._failure or words

    def failure(self) -> str | None:
        """What `fail` was told; None before."""
        return self._failure

    def post(self, record: Record) -> None:
        """Add a record."""
        self._records.append(record)

    def fetch(self) -> list[Record]:
        """Every record since the last call."""
        records, self._records = self._records, []
        return records


def start_board() -> Any:
    """A `ProgressBoard` actor on the driver's node, so that no other node's loss takes it away; ends with its last
    handle."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(ProgressBoard).options(num_cpus=0, scheduling_strategy=here).remote()


class BoardReader:
    """Context manager: a thread that hands the board's records to `receive` until the block ends, none left out.

    An exception of `receive` is raised where the block ends.
    """

    def __init__(self, board: Any, receive: Callable[[Record], None]) -> None:
        self._board = board
        self._receive = receive
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> BoardReader:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stop.wait(POLL_SECONDS):
                self._drain()
            self._drain()
        except Exception as error:
            self._error = error

    def _drain(self) -> None:
        for record in ray.get(self._board.fetch.remote()):
            self._receive(record)
