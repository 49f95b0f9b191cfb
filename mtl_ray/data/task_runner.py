"""Running independent pieces of work: in this process, or as Ray Data tasks on a cluster."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeVar

from mtl_ray.errors import MtlRayError

RunsOn = Literal["local", "ray"]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def run_tasks(function: Callable[[Item], Outcome], items: Sequence[Item], runs_on: RunsOn) -> Iterator[Outcome]:
    """`function` of each item, as results come in: in the items' order here, in any order on Ray.

    On Ray each item is one Ray Data task of one CPU in a process of its own; a task whose node is lost runs again on
    another. `function` and items must be picklable, and whatever a task leaves in files must be there for all nodes.
    An error of this package that a task raises is raised here as it is.
    """
    if runs_on == "local":
        for item in items:
            yield function(item)
        return
    if not items:
        return
    import ray.data

    pickled = [pickle.dumps(item) for item in items]

    def run(ids: dict[str, Any]) -> dict[str, list[bytes]]:
        return {"outcome": [pickle.dumps(_outcome(function, pickle.loads(pickled[int(id_)]))) for id_ in ids["id"]]}

    tasks = ray.data.range(len(items), override_num_blocks=len(items)).map_batches(run, batch_size=1, num_cpus=1)
    for batch in tasks.iter_batches(batch_size=None, prefetch_batches=0):
        for outcome in batch["outcome"]:
            result = pickle.loads(outcome)
            if isinstance(result, MtlRayError):
                raise result
            yield result


def _outcome(function: Callable[[Item], Outcome], item: Item) -> Outcome | MtlRayError:
    # Ray would bury an error of ours in one of its own, which keeps the text alone.
    try:
        return function(item)
    except MtlRayError as error:
        return error
