"""A Redis server beside simulated nodes, in which a head keeps what it must not forget."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.nodes import OUTSIDE

PORT = 6380
PASSWORD = "of-this-test-alone"


def missing() -> str | None:
    """Why there can be no server here; None where there can."""
    return None if shutil.which("redis-server") else "no redis-server on PATH (Debian's package redis-server has it)"


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Its address, as nodes have it; needs the network of nodes. What it holds is gone when the block ends."""
    folder.mkdir()
    where = ["--bind", OUTSIDE, "--port", str(PORT), "--dir", str(folder)]
    command = ["setpriv", "--pdeathsig", "TERM", "redis-server", *where, "--requirepass", PASSWORD, "--save", ""]
    with (folder / "log.txt").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while not _answers():
            assert process.poll() is None, (folder / "log.txt").read_text()
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.1)
        yield f"{OUTSIDE}:{PORT}"
    finally:
        process.terminate()
        process.wait()


def _answers() -> bool:
    try:
        with socket.create_connection((OUTSIDE, PORT), timeout=1):
            return True
    except OSError:
        return False
