"""Machines on one machine: each has its own network, processes and mounts, and can be lost at once.

A simulated node is a Linux network namespace on a private bridge, and in it a process that is the first one of a pid,
mount, host-name and ipc namespace of its own: when it dies, so does all that it started. `/tmp/ray`, `/dev/shm` and
HOME are the node's; every other folder is the machine's, and so what nodes share. Nodes end with the process that
started them, however it ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

BRIDGE = "mtlnodes"
SUBNET = "198.18.77"
"""Of the block that is set aside for tests of networks (RFC 2544): nobody's addresses."""
OUTSIDE = f"{SUBNET}.254"
"""The address at which nodes find what runs outside of them."""

# $1 the node's name, $2 its folder; then its command.
_BOOT = """
set -eu
name=$1 folder=$2; shift 2
hostname "$name"
mount -t tmpfs -o size=1g tmpfs /dev/shm
mkdir -p /tmp/ray
mount --bind "$folder/ray" /tmp/ray
mount --bind "$folder/hosts" /etc/hosts
exec "$@"
"""


def missing() -> str | None:
    """Why there can be no simulated nodes here; None where there can."""
    if os.geteuid() != 0:
        return "simulated nodes need root"
    absent = [each for each in ("ip", "unshare", "setpriv", "mount") if shutil.which(each) is None]
    if absent:
        return f"simulated nodes need iproute2 and util-linux: no {', '.join(absent)} here"
    probe = subprocess.run(
        ["unshare", "--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "true"], capture_output=True, text=True
    )
    return None if probe.returncode == 0 else f"no namespaces may be made here: {probe.stderr.strip()}"


class Node:
    """A simulated machine that runs one command, and what that starts."""

    def __init__(self, name: str, number: int, folder: Path) -> None:
        """
        Args:
            name: of at most 10 characters.
            number: last part of its address, 1 to 200.
            folder: what is its own; made here.
        """
        self.name = name
        self.address = f"{SUBNET}.{number}"
        self.log = folder / "log.txt"
        self._space, self._link = f"mtl-{name}", f"mtl-{name}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        # Its own name leads to its address: Gloo would offer loopback to the other nodes.
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{self.address} {name}\n")

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Connect it to the network and run `command`; also again after it was lost, with an empty disk."""
        self._disconnect()
        shutil.rmtree(self._folder / "ray", ignore_errors=True)
        (self._folder / "ray").mkdir()
        _ip("netns", "add", self._space)
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self._space)
        _ip("link", "set", self._link, "master", BRIDGE, "up")
        _ip("-n", self._space, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            _ip("-n", self._space, "link", "set", device, "up")
        own = ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self._space]
        own += ["unshare", "--pid", "--mount", "--uts", "--ipc"]
        boot = ["--fork", "--kill-child", "--mount-proc", "bash", "-c", _BOOT, "boot", self.name, str(self._folder)]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*own, *boot, *command],
                env={**environment, "HOME": str(self._folder)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def runs(self) -> bool:
        """Whether its command does."""
        return self._process is not None and self._process.poll() is None

    def lose(self) -> None:
        """As when its power goes: it falls silent, no connection is closed, and nothing of it goes on."""
        _ip("link", "set", self._link, "down")
        self._end()

    def remove(self) -> None:
        """End it and take it from the network."""
        self._end()
        self._disconnect()

    def _end(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def _disconnect(self) -> None:
        """Also from what a killed test has left."""
        for command in (["link", "del", self._link], ["netns", "del", self._space]):
            subprocess.run(["ip", *command], capture_output=True, check=False)


@contextmanager
def network() -> Iterator[None]:
    """The bridge that connects nodes with each other and with us, at `OUTSIDE`; nothing leads on from there.

    There is one at a time on a machine: who comes second waits.
    """
    with FileLock(Path(tempfile.gettempdir()) / f"{BRIDGE}.lock"):
        subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True, check=False)
        _ip("link", "add", BRIDGE, "type", "bridge")
        try:
            _ip("addr", "add", f"{OUTSIDE}/24", "dev", BRIDGE)
            _ip("link", "set", BRIDGE, "up")
            yield
        finally:
            _ip("link", "del", BRIDGE)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
