"""Where the pieces of a build run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mtl_ray.data.join.progress import Say
from mtl_ray.data.task_runner import RunsOn

RAY_ROWS = 2_000_000
"""Spine rows from which on starting a local Ray pays: below, its start takes longer than the whole build."""


@contextmanager
def place_of(wanted: str, rows: int, say: Say) -> Iterator[tuple[RunsOn, int | None]]:
    """Where the pieces run, and the budget of one process there (None: whatever the offline store has)."""
    cluster = bool(os.environ.get("RAY_ADDRESS"))
    if wanted == "local" or (wanted == "auto" and not cluster and rows < RAY_ROWS):
        yield "local", None
        return
    import ray

    from mtl_ray.cluster import ray_session

    say("building on Ray" + ("" if cluster or ray.is_initialized() else ", which is started here"))
    with ray_session(os.cpu_count() or 1):
        from mtl_ray.machine_memory import default_budget

        cores = [int(node["Resources"].get("CPU", 1)) for node in ray.nodes() if node["Alive"]]
        yield "ray", default_budget() // max(1, *cores)
