"""What is left when a job has ended: on the cluster that it ran on, and on the machine that its driver ran on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psutil
import requests

from tests.ray_head import RayHead

MARK = "MTL_RAY_TEST_JOB"
"""Environment variable of a job's driver, and so of every process that this starts, a Ray of its own among them."""

OF_RAY_DATA = {"_StatsActor", "_AutoscalingCoordinatorActor", "_UsageCollectionActor"}
"""One each a cluster, which Ray Data keeps for its next execution, whosever that is; they take no CPU."""

SECONDS = 60
"""For how long what is ending may still be seen."""


def remaining(head: RayHead) -> list[Any]:
    """Actors and placement groups that live, tasks that run, and processes of a job, but for Ray's own; none of them
    when the list is empty, for which it is waited."""
    return _waited_for(lambda: _on_the_cluster(head))


def remaining_processes(mark: str) -> list[str]:
    """Command lines of the processes whose environment has MARK=`mark`; waited for as `remaining` does."""
    return _waited_for(lambda: _marked(mark))


def _on_the_cluster(head: RayHead) -> list[Any]:
    left = [group for group in _listed(head, "placement_groups") if group["state"] != "REMOVED"]
    actors = [actor for actor in _listed(head, "actors") if actor["state"] != "DEAD"]
    kept = {actor["actor_id"] for actor in actors if _of_ray(actor)}
    left += [actor for actor in actors if actor["actor_id"] not in kept]
    left += [task for task in _listed(head, "tasks") if _unfinished(task) and task["actor_id"] not in kept]
    left += [job for job in _listed(head, "jobs") if job["status"] in ("PENDING", "RUNNING")]
    # A process that waits for its next task is called ray::IDLE.
    busy = [
        name for name in _workers(head) if not name.startswith("ray::IDLE") and name[5:].split(".")[0] not in OF_RAY
    ]
    return left + busy


OF_RAY = {*OF_RAY_DATA, "JobSupervisor", "DashboardAgent", "RuntimeEnvAgent"}


def _of_ray(actor: dict[str, Any]) -> bool:
    return actor.get("ray_namespace") == "SUPERVISOR_ACTOR_RAY_NAMESPACE" or actor.get("class_name") in OF_RAY_DATA


def _unfinished(task: dict[str, Any]) -> bool:
    return task["type"] != "DRIVER_TASK" and task["state"] not in ("FINISHED", "FAILED", "NIL")


def _listed(head: RayHead, kind: str) -> list[dict[str, Any]]:
    answer = requests.get(f"{head.dashboard}/api/v0/{kind}?detail=true", headers=head.headers(), timeout=60).json()
    found: list[dict[str, Any]] = answer["data"]["result"]["result"]
    return found


def _workers(head: RayHead) -> list[str]:
    """What the worker processes of the head's node call themselves, those among them that Ray has forgotten."""
    assert head.process is not None
    names = []
    for process in head.process.children(recursive=True):
        try:
            names.append(" ".join(process.cmdline()).strip())
        except psutil.NoSuchProcess:
            continue
    return [name for name in names if name.startswith("ray::")]


def _marked(mark: str) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid}: {' '.join(process.cmdline())}")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _waited_for(look: Callable[[], list[Any]]) -> list[Any]:
    deadline = time.monotonic() + SECONDS
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left
