"""A cluster of our own does what a command needs and no more, and leaves the environment as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from mtl_ray.local_cluster import FRUGAL

# In a process of its own: other tests of this one hold a Ray.
INSIDE = """
import atexit, json, os, psutil, ray, time
from mtl_ray.local_cluster import FRUGAL, is_local, local_cluster

def ours():
    return {name: os.environ.get(name) for name in FRUGAL}

def commands():
    return [" ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)]

@ray.remote(num_cpus=1)
def seen():
    return ours(), os.getpid()

@ray.remote(num_cpus=0)
class HangsInItsExit:
    def process(self):
        atexit.register(time.sleep, 1000)
        return os.getpid()

def ends(process):
    deadline = time.monotonic() + 60
    while psutil.pid_exists(process) and time.monotonic() < deadline:
        time.sleep(0.5)
    return not psutil.pid_exists(process)

found = {"before": ours(), "local_before": is_local()}
try:
    with local_cluster(2):
        inside, worker = ray.get(seen.remote())
        found |= {"cpus": ray.cluster_resources()["CPU"], "local": is_local(), "inside": inside, "running": commands()}
        found |= {"idle_ends": ends(worker)}
        actor = HangsInItsExit.remote()
        hanging = ray.get(actor.process.remote())
        del actor
        time.sleep(2)
        1 / 0
except ZeroDivisionError:
    found |= {"after": ours(), "ended": not ray.is_initialized(), "local_after": is_local(), "left": commands()}
    found |= {"hanging_ends": ends(hanging)}
print(json.dumps(found))
"""


def test_frugal_unless_the_user_says_otherwise_and_gone_after_an_error() -> None:
    own = {"RAY_event_stats": "1", "RAY_idle_worker_killing_time_threshold_ms": "1000"}
    environment = {name: value for name, value in os.environ.items() if name not in {*FRUGAL, "RAY_ADDRESS"}} | own
    ran = subprocess.run(
        [sys.executable, "-c", INSIDE], env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=180
    )
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    assert found["cpus"] == 2
    assert found["inside"] == FRUGAL | own
    assert any("raylet" in command for command in found["running"])
    assert not any("log_monitor" in command for command in found["running"])
    assert found["idle_ends"], "a process without a task goes on waking up"
    assert found["hanging_ends"], "an actor outlives its cluster"
    assert found["after"] == found["before"] == dict.fromkeys(FRUGAL) | own
    assert found["ended"]
    assert (found["local_before"], found["local"], found["local_after"]) == (False, True, False)
    assert not any("raylet" in command for command in found["left"])
