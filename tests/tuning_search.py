"""jobs/tune.py, run as a user runs it: to its end, or until a test kills something."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
SECONDS = 600
"""Longer than a busy machine takes for anything here."""


def _command(*options: str) -> list[str]:
    return [sys.executable, str(ROOT / "jobs" / "tune.py"), *options]


def run_job(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it in `folder` to its end."""
    return subprocess.run(_command(*options), cwd=folder, capture_output=True, text=True, check=False)


class RunningSearch:
    """A search that runs, and its folder."""

    def __init__(self, driver: subprocess.Popen[str], folder: Path) -> None:
        self.driver = driver
        self.folder = folder

    def wait_for_epoch(self, trial: int, epoch: int) -> None:
        """Until Tune has logged that epoch of the trial."""
        deadline = time.monotonic() + SECONDS
        while not any(json.loads(line)["epoch"] >= epoch for line in logs(self.folder, trial)):
            assert self.driver.poll() is None, self.driver.communicate()
            assert time.monotonic() < deadline, "the trial has not come that far"
            time.sleep(0.05)

    def kill_trial(self) -> None:
        """Kill the process that a trial runs in."""
        deadline = time.monotonic() + SECONDS
        while not (found := [process for process in self._children() if _is_trial(process)]):
            assert time.monotonic() < deadline, "there is no trial to kill"
            time.sleep(0.05)
        found[0].kill()

    def kill_driver(self) -> str:
        """Kill the search, wait until its Ray is gone, and give what it had said."""
        children = self._children()
        self.driver.send_signal(signal.SIGKILL)
        _, errors = self.driver.communicate()
        psutil.wait_procs(children, timeout=SECONDS)
        return errors

    def _children(self) -> list[psutil.Process]:
        return psutil.Process(self.driver.pid).children(recursive=True)


@contextmanager
def running(root: Path, *options: str) -> Iterator[RunningSearch]:
    """A search that was started in `root`; nothing of it is left afterwards."""
    searches = root / "runs" / "searches"
    before = {file.parent for file in searches.glob("*/search.json")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    driver = subprocess.Popen(_command(*options), cwd=root, text=True, **pipes)
    try:
        while not (new := {file.parent for file in searches.glob("*/search.json")} - before):
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.2)
        yield RunningSearch(driver, new.pop())
    finally:
        if driver.poll() is None:
            driver.kill()
            driver.communicate()


def logs(folder: Path, trial: int) -> list[str]:
    """Lines that Tune has logged of a trial's epochs."""
    files = list((folder / "tune").glob(f"trial-{trial}-*/result.json"))
    return files[0].read_text().splitlines() if files else []


def epochs(folder: Path, trial: int) -> list[int]:
    """The epochs that were logged, in order; one that was repeated is there twice."""
    return [json.loads(line)["epoch"] for line in logs(folder, trial)]


def _is_trial(process: psutil.Process) -> bool:
    try:
        return "ResourceTrainable" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
