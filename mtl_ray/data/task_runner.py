"""Running independent pieces of work: in this process, or as Ray Data tasks on a cluster."""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import pyarrow as pa

from mtl_ray.errors import MtlRayError

RunsOn = Literal["local", "ray"]

MOST_RETRIES = 5
"""How often a piece whose process or node died is begun anew. Ray Data's own limit is none: a piece that always kills
its process would be tried for ever."""

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def run_tasks(function: Callable[[Item], Outcome], items: Sequence[Item], runs_on: RunsOn) -> Iterator[Outcome]:
    """`function` of each item, as results come in: in the items' order here, in any order on Ray.

    On Ray each item is one Ray Data task of one CPU in a process of its own. A task whose process or node is lost runs
    again, and so may a finished one whose result was lost with its node: `function` must do no harm when it runs
    twice, even at one time. `function` and items must be picklable, and whatever a task leaves in files must be there
    for all nodes.

    An error of this package that a task raises is raised here as it is, any other as Ray's; neither is tried again,
    and the tasks that run are interrupted. Raises `MtlRayError` where a task's process died too often.
    """
    if runs_on == "local":
        for item in items:
            yield function(item)
        return
    if not items:
        return
    with _quiet():
        yield from _run_on_ray(function, items)


def _run_on_ray(function: Callable[[Item], Outcome], items: Sequence[Item]) -> Iterator[Outcome]:
    from ray.exceptions import RayError, RayTaskError

    batches = _tasks(function, items)
    results = 0
    try:
        for batch in batches:
            for outcome in batch["outcome"]:
                result = pickle.loads(outcome)
                if isinstance(result, MtlRayError):
                    raise result
                results += 1
                yield result
    except RayTaskError:
        raise
    except RayError as error:
        raise MtlRayError(
            f"A piece of work died on Ray and could not be done in {MOST_RETRIES} more attempts: {error}\n"
            "What is finished is kept, and the same command goes on from there. If memory ran out, lower memory_budget."
        ) from error
    finally:
        batches.close()  # interrupts what still runs, or it would go on writing into a folder that is being removed
    assert results == len(items), f"{results} results of {len(items)} pieces"


def _tasks(function: Callable[[Item], Outcome], items: Sequence[Item]) -> Any:
    """A generator of the outcomes' batches."""
    import ray.data

    def run(batch: dict[str, Any]) -> dict[str, list[bytes]]:
        return {"outcome": [pickle.dumps(_outcome(function, pickle.loads(item))) for item in batch["item"]]}

    # One block an item, owned by this process: a lost node never takes items with it. Reading them from
    # `ray.data.range` would cost a second task an item, and twice the time where pieces are small.
    blocks = [pa.table({"item": pa.array([pickle.dumps(item)], pa.binary())}) for item in items]
    with warnings.catch_warnings():
        # Ray 2.60 says that it will drop the argument, and has no other for the number of retries yet.
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
        tasks = ray.data.from_arrow(blocks).map_batches(run, batch_size=1, num_cpus=1, max_retries=MOST_RETRIES)
    tasks.context.enable_progress_bars = False
    tasks.context.max_errored_blocks = 0  # whatever else the user tolerates, a piece left out would be rows lost
    return iter(tasks.iter_batches(batch_size=None, prefetch_batches=0))


def _outcome(function: Callable[[Item], Outcome], item: Item) -> Outcome | MtlRayError:
    # Ray would bury an error of ours in one of its own, which keeps the text alone.
    try:
        return function(item)
    except MtlRayError as error:
        return error


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray Data's notes on each execution stay in its log files: a join has many, and tells its own progress."""
    import ray.data  # noqa: F401 - it sets the levels of its loggers when it is imported

    # Feast has such warnings shown; these are of Ray's own copying of its settings.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ray\.data\.context")
    levels = {"ray.data": logging.WARNING, "ray.data._internal.progress": logging.ERROR}
    before = {name: logging.getLogger(name).level for name in levels}
    try:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
