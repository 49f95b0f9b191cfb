"""What the machine gives to two processes, whoever trains in them: the loop by hand, one thread a process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from tests.benchmarks.measure import measure
from tests.benchmarks.train_throughput.rates import over_all_epochs

LOOP = "tests.benchmarks.train_throughput.bare:loop"

How = Literal["alone", "apart", "together"]
HOWS: tuple[How, ...] = ("alone", "apart", "together")
"""One process; two at the same time that exchange nothing; two that train one model."""


def rate(how: How, arguments: dict[str, Any]) -> float:
    """Samples a second over all epochs and processes.

    Args:
        arguments: of `bare.loop`, but for the workers.

    Raises RuntimeError where a loop fails.
    """
    workers = 2 if how == "together" else 1
    times = 2 if how == "apart" else 1
    with ThreadPoolExecutor(times) as threads:
        found = list(
            threads.map(lambda _: measure(LOOP, {**arguments, "workers": workers, "our_exchange": True}), range(times))
        )
    total = 0.0
    for run in found:
        own = over_all_epochs(run)
        if own is None:
            raise RuntimeError(f"the loop by hand ({how}) failed: {run.error}")
        total += own
    return total
