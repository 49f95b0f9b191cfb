"""Seconds and peak memory of one side of a benchmark, in a process of its own.

The child imports, warms up, runs the timed part once, reads its peak memory, and only then checks what came out: so
neither imports nor the check are in the seconds, and the check is not in the memory.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil

_POLL_SECONDS, _POLL_SHARE = 0.05, 0.02
"""Between two looks at the processes of a side: at least so many seconds, and so much of the time that it has run.
Looking costs milliseconds for each process, and the side has the same cores."""
_MB = 1e6


class Side(Protocol):
    """What is measured. A module-level function that returns one is named as the target."""

    def warm_up(self) -> None:
        """Whatever a user pays once a process, not once a call: imports above all."""

    def run(self) -> Any:
        """The timed part."""

    def check(self, result: Any) -> dict[str, Any]:
        """Figures about the result, JSON values; they go into `Measured.figures`."""


@dataclass(frozen=True)
class Measured:
    """One run of one side."""

    seconds: float | None = None
    peak_mb: float | None = None
    """The most resident memory (1e6 bytes) from the start of the process to the end of the timed part, the processes
    that it started included; interpreter and imports are in it, nothing is subtracted. Memory that several processes
    share counts once for each."""
    imports_mb: float | None = None
    """Resident memory before the timed part."""
    figures: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    """Why there are no figures."""


def measure(target: str, arguments: dict[str, Any], limit_seconds: float | None = None) -> Measured:
    """Run the side that `target` ("package.module:function", called with `arguments`) returns, in a fresh process.

    A side that raises, dies or takes longer than `limit_seconds` gives a `Measured` with its `error`.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        report = Path(folder)
        command = [sys.executable, "-m", "tests.benchmarks.measure", target, json.dumps(arguments), folder]
        with (report / "output").open("wb") as output:
            child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
            peak, late = _watch(child, report, limit_seconds)
        if late:
            return Measured(error=f"stopped after {limit_seconds:.0f} s")
        if not (report / "result").exists():
            return Measured(error=f"exit status {child.returncode}: {_last_line(report / 'output')}")
        found = json.loads((report / "result").read_text())
    if "error" in found:
        return Measured(error=found["error"])
    return Measured(
        seconds=found["seconds"],
        peak_mb=max(found["peak_mb"], peak / _MB),
        imports_mb=found["imports_mb"],
        figures=found["figures"],
    )


def _watch(child: subprocess.Popen[bytes], report: Path, limit_seconds: float | None) -> tuple[int, bool]:
    """Wait for `child`; the peak of the summed memory of it and its descendants in the timed part, and whether it was
    stopped for taking too long. The processes that it started and that were seen are gone afterwards."""
    process = psutil.Process(child.pid)
    started = time.monotonic()
    peak = 0
    descendants: dict[int, psutil.Process] = {}
    try:
        while child.poll() is None:
            time.sleep(max(_POLL_SECONDS, _POLL_SHARE * (time.monotonic() - started)))
            if limit_seconds is not None and time.monotonic() - started > limit_seconds:
                return peak, True
            if not (report / "started").exists() or (report / "finished").exists():
                continue
            try:
                children = process.children(recursive=True)
            except psutil.NoSuchProcess:
                continue
            descendants.update({found.pid: found for found in children})
            if children:
                peak = max(peak, sum(_resident(found) for found in [process, *children]))
        return peak, False
    finally:
        child.kill()
        child.wait()
        left = [found for found in descendants.values() if found.is_running()]
        for found in left:
            with suppress(psutil.NoSuchProcess):
                found.kill()
        psutil.wait_procs(left, timeout=10)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _last_line(output: Path) -> str:
    lines = output.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"


def _own_peak_bytes() -> int:
    """The high-water mark of this process's resident memory.

    Linux hands `ru_maxrss` of the parent down through fork and exec, so the mark of the address space is read instead.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _run_child(target: str, arguments: dict[str, Any], report: Path) -> dict[str, Any]:
    module, _, function = target.partition(":")
    make: Callable[..., Side] = getattr(importlib.import_module(module), function)
    side = make(**arguments)
    side.warm_up()
    before = _resident(psutil.Process())
    (report / "started").touch()
    start = time.perf_counter()
    result = side.run()
    seconds = time.perf_counter() - start
    peak = _own_peak_bytes()
    (report / "finished").touch()
    return {
        "seconds": seconds,
        "peak_mb": peak / _MB,
        "imports_mb": before / _MB,
        "figures": side.check(result),
    }


def _main() -> None:
    target, arguments, folder = sys.argv[1:]
    report = Path(folder)
    try:
        found = _run_child(target, json.loads(arguments), report)
    except Exception as error:  # a side that cannot run is a row of the result, not the end of the benchmark
        traceback.print_exc()
        first = (str(error).strip() or "no message").splitlines()[0]
        found = {"error": f"{type(error).__name__}: {first[:300]}"}
    aside = report / "result.part"
    aside.write_text(json.dumps(found))
    aside.rename(report / "result")
    sys.stdout.flush()
    os._exit(0)  # what libraries do at exit is not measured, and some hang


if __name__ == "__main__":
    _main()
