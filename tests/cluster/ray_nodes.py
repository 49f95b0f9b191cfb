"""A Ray cluster on simulated nodes, with token authentication: a head without CPUs, and workers that can be lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.cluster import redis_server
from tests.cluster.nodes import Node, network
from tests.ray_head import TOKEN, RayHead

ROOT = Path(__file__).parents[2]
SECONDS = 600
"""Longer than a busy machine takes for anything here."""
CPUS = 2
"""Of a worker node: room for one training worker of two CPUs."""

_STORE = "--object-store-memory=150000000"


class Job:
    """A submitted job, followed by a process that ends as it ends."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def said(self) -> str:
        """All that it has said."""
        return self._log.read_text()

    def wait_until(self, what: str, happens: Callable[[], bool]) -> None:
        """Until `happens()`; the job must not end before."""
        deadline = time.monotonic() + SECONDS
        while not happens():
            assert self._process.poll() is None, self.said()
            assert time.monotonic() < deadline, f"not in {SECONDS} s: {what}\n{self.said()}"
            time.sleep(0.1)

    def exit_status(self) -> int:
        """That of the job, when it has ended."""
        return self._process.wait(SECONDS)

    def end(self) -> None:
        """Stop following it, if it has not ended."""
        self._process.kill()
        self._process.wait()


class RayNodes:
    """A running cluster."""

    def __init__(self, folder: Path, environment: Mapping[str, str], redis: str | None) -> None:
        """`redis`: address of the server that the head keeps its state in; None: it forgets all when it is lost."""
        self._folder = folder
        self._redis = redis
        self._stack = ExitStack()
        self.workers: list[Node] = []
        self.head = Node("head", 1, folder / "head")
        self._stack.callback(self.head.remove)
        self.client = RayHead(
            dashboard=f"http://{self.head.address}:8265",
            gcs=f"{self.head.address}:6379",
            metrics=f"http://{self.head.address}:8090",
            logs=self.head.log.parent / "ray" / "session_latest" / "logs",
        )
        outside = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTHONPATH"))}
        self._environment = {
            **outside,
            **environment,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "RAY_USAGE_STATS_ENABLED": "0",
            # For how long a node may wait for a head that comes again: KubeRay's own setting.
            "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
            "RAY_worker_niceness": "0",  # by its own 15, whatever else the machine does comes first
            "RAY_health_check_failure_threshold": "2",  # by its own 5, a minute until a silent node counts as lost
        }

    def start_head(self) -> None:
        """Start it, also again after it was lost, and wait until it takes jobs."""
        address = [f"--node-ip-address={self.head.address}", "--port=6379", "--dashboard-host=0.0.0.0"]
        head = ["ray", "start", "--head", "--block", "--no-monitor", "--num-cpus=0", "--metrics-export-port=8090"]
        own = {
            "RAY_metrics_report_interval_ms": "1000",  # for the driver, which counts restarts
            "RAY_enable_autoscaler_v2": "1",  # as KubeRay has it, whose part the test plays: it adds nodes
        }
        if self._redis is not None:
            own |= {"RAY_REDIS_ADDRESS": self._redis, "RAY_external_storage_namespace": "nodes"}
            head.append(f"--redis-password={redis_server.PASSWORD}")
        self.head.start([*head, *address, _STORE], self._environment | own)
        self._wait_for("the head takes jobs", self.head, lambda: self._get("jobs/") is not None)

    def add_worker(self) -> Node:
        """Start another worker node, and wait until the cluster has it."""
        number = len(self.workers) + 1
        node = Node(f"worker{number}", 1 + number, self._folder / f"worker{number}")
        self.workers.append(node)
        self._stack.callback(node.remove)
        address = [f"--node-ip-address={node.address}", f"--address={self.head.address}:6379"]
        node.start(["ray", "start", "--block", f"--num-cpus={CPUS}", *address, _STORE], self._environment)
        self._wait_for("the node joins", node, lambda: node.address in self.alive())
        return node

    def fill(self, workers: int) -> None:
        """Add nodes until so many of the workers run."""
        for _ in range(workers - sum(node.runs() for node in self.workers)):
            self.add_worker()

    def shrink(self, workers: int) -> None:
        """Lose nodes until so many of the workers run, and the head knows it."""
        for node in [node for node in self.workers if node.runs()][workers:]:
            node.lose()
            self._wait_for("the node counts as lost", self.head, lambda gone=node.address: gone not in self.alive())

    def has_pending_workers(self) -> bool:
        """Whether somebody waits for nodes to place workers on."""
        return any(group["state"] == "PENDING" for group in self.state("placement_groups"))

    def alive(self) -> set[str]:
        """Addresses of the nodes that the head believes to live."""
        return {node["node_ip"] for node in self.state("nodes") if node["state"] == "ALIVE"}

    def worker_ids(self) -> set[str]:
        """Ids of the living nodes beside the head: a node that joins anew has a new one."""
        return {
            node["node_id"] for node in self.state("nodes") if node["state"] == "ALIVE" and not node["is_head_node"]
        }

    def of(self, name: str) -> dict[str, str]:
        """Addresses of the nodes where actors live whose class has `name` in its own, by the actors' ids."""
        addresses = {node["node_id"]: node["node_ip"] for node in self.state("nodes")}
        living = [actor for actor in self.state("actors") if actor["state"] == "ALIVE" and name in actor["class_name"]]
        return {actor["actor_id"]: addresses[actor["node_id"]] for actor in living}

    def state(self, kind: str) -> list[dict[str, Any]]:
        """What Ray's state API lists: nodes, actors, placement_groups."""
        answer = self._get(f"v0/{kind}?detail=true")
        return [] if answer is None else answer["data"]["result"]["result"]

    def node_at(self, address: str) -> Node:
        """The worker node there."""
        return next(node for node in self.workers if node.address == address)

    def submit(self, log: Path, *entrypoint: str) -> Job:
        """Submit a job with this repository's modules by jobs/submit.py, which says into `log` what the job says."""
        command = [sys.executable, str(ROOT / "jobs" / "submit.py"), "--", *entrypoint]
        with log.open("w") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env=self.client.environment, stdout=output, stderr=subprocess.STDOUT
            )
        job = Job(process, log)
        self._stack.callback(job.end)
        return job

    def close(self) -> None:
        """End every node, and following jobs that have not ended."""
        self._stack.close()

    def _get(self, path: str) -> Any:
        """The dashboard's answer; None where there is none."""
        try:
            answer = requests.get(f"{self.client.dashboard}/api/{path}", headers=self.client.headers(), timeout=30)
        except requests.RequestException:
            return None
        return answer.json() if answer.ok else None

    def _wait_for(self, what: str, node: Node, happens: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not happens():
            assert node.runs(), node.log.read_text()
            assert time.monotonic() < deadline, f"not in {SECONDS} s: {what}\n{node.log.read_text()}"
            time.sleep(0.5)


@contextmanager
def ray_nodes(folder: Path, workers: int, environment: Mapping[str, str]) -> Iterator[RayNodes]:
    """A cluster with so many worker nodes; `environment` is for all processes on all nodes.

    Its head keeps its state in Redis, where there is a server to be had.
    """
    with network(), ExitStack() as stack:
        fault_tolerant = redis_server.missing() is None
        redis = stack.enter_context(redis_server.redis_server(folder / "redis")) if fault_tolerant else None
        cluster = RayNodes(folder, environment, redis)
        stack.callback(cluster.close)
        cluster.start_head()
        cluster.fill(workers)
        yield cluster
