"""Our whole path on as many cores as it is told."""

from __future__ import annotations

import os
from typing import Any

from tests.benchmarks.measure import Side
from tests.benchmarks.train_throughput.ours import job as whole_path


def job(cores: int | None, **arguments: Any) -> Side:
    """Target of `measure`: `ours.job` with `arguments`, its processes and all that they start on the first `cores`
    cores that this process has; None: on all."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    return whole_path(**arguments)
