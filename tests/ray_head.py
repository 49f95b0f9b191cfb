"""A Ray head of its own, with token authentication, as `ray start` makes it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import requests

TOKEN = "a-token-of-this-test-alone-" + "0" * 32


@dataclass(frozen=True)
class RayHead:
    """A running head node."""

    dashboard: str
    """http://127.0.0.1:PORT"""
    gcs: str
    """HOST:PORT, where drivers join the cluster."""
    metrics: str
    """Where its node's metrics are scraped."""
    logs: Path
    """Of every process of the node."""
    process: psutil.Process | None = None
    """The node's first, which all others descend from; None before it has begun."""

    @property
    def environment(self) -> dict[str, str]:
        """Of a client that knows the cluster's address and token."""
        outside = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        return {**outside, "RAY_ADDRESS": self.dashboard, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}

    def headers(self) -> dict[str, str]:
        """Of a request to the dashboard."""
        return {"Authorization": f"Bearer {TOKEN}"}


@contextmanager
def ray_head(num_cpus: int, environment: dict[str, str] | None = None) -> Iterator[RayHead]:
    """Start a head on free ports; it and all that it started have ended when the block has."""
    names = ("port", "dashboard-port", "ray-client-server-port", "dashboard-agent-listen-port", "metrics-export-port")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    binaries = Path(sys.executable).parent
    scratch = tempfile.mkdtemp(prefix="ray")
    head = RayHead(
        dashboard=f"http://127.0.0.1:{ports['dashboard-port']}",
        gcs=f"127.0.0.1:{ports['port']}",
        metrics=f"http://127.0.0.1:{ports['metrics-export-port']}",
        logs=Path(scratch) / "session_latest" / "logs",
    )
    variables = {**head.environment, "PATH": f"{binaries}:{os.environ['PATH']}", **(environment or {})}
    for name in ("RAY_ADDRESS", "PYTHONPATH"):  # what jobs import is what they were sent with
        variables.pop(name, None)
    log = Path(scratch) / "ray_start.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [binaries / "ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
            + [f"--{name}={port}" for name, port in ports.items()]
            + [f"--num-cpus={num_cpus}", f"--temp-dir={scratch}", "--object-store-memory=200000000"]
            + ["--disable-usage-stats"],
            env=variables,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for_jobs(head, process, log)
        yield replace(head, process=psutil.Process(process.pid))
    finally:
        _end(process)
        shutil.rmtree(scratch, ignore_errors=True)


def free_ports(number: int) -> list[int]:
    """Ports that nothing listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_for_jobs(head: RayHead, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if requests.get(f"{head.dashboard}/api/jobs/", headers=head.headers(), timeout=10).ok:
                return
        except requests.RequestException:
            time.sleep(0.5)
    raise AssertionError(f"the head did not come up: {log.read_text()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    started = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
    for child in psutil.wait_procs(started, timeout=5)[1]:
        child.kill()
