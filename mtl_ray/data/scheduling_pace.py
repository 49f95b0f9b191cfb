"""How often Ray Data looks for work while a stream is ahead of its readers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ray.data._internal.execution.execution_callback import ExecutionCallback

if TYPE_CHECKING:
    from ray.data._internal.execution.streaming_executor import StreamingExecutor

PAUSE_SECONDS = 0.1
"""From one look to the next, at least: as long as Ray Data waits for tasks that are still working."""


class UnhurriedScheduling(ExecutionCallback):
    """Makes the scheduling loop of an execution wait between two of its steps while rows are ready to be taken.

    Ray Data (2.60) waits for its tasks to end, but where they are held back because enough rows are ready, nothing is
    left to wait for, and the loop turns without a pause: most of a core, for as long as training is slower than
    reading. While a reader waits for rows the loop turns as Ray made it.
    """

    def __init__(self) -> None:
        self._last = time.monotonic()

    def on_execution_step(self, executor: StreamingExecutor) -> None:
        """Called by Ray Data at the end of each step, in the thread of the loop."""
        if not executor._consumer_idling():
            time.sleep(max(0.0, self._last + PAUSE_SECONDS - time.monotonic()))
        self._last = time.monotonic()
