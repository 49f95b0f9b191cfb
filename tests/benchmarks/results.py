"""The document that every benchmark writes, and its table."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from pydantic import Field
from rich.console import Console
from rich.table import Table

from mtl_ray.schema import Settings

say = Console(stderr=True, highlight=False, soft_wrap=True).print
"""Progress, for the eye."""


class Verdict(Settings):
    """One line of what was promised, and what was measured."""

    line: str
    goal: str
    measured: str | None
    """None: this run did not measure it."""
    met: bool | None
    """None: not measured, or nothing was promised."""


class Results(Settings):
    """What `--json` holds."""

    name: str
    date: datetime = Field(default_factory=lambda: datetime.now(UTC))
    machine: dict[str, Any]
    rows: tuple[dict[str, Any], ...]
    verdicts: tuple[Verdict, ...]

    def write(self, path: Path) -> None:
        """As JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json(indent=1) + "\n")


def machine(packages: Sequence[str]) -> dict[str, Any]:
    """What the figures depend on, with the versions of `packages`."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {package: version(package) for package in packages},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def show_table(title: str, header: Sequence[str], lines: Sequence[Sequence[str] | None]) -> None:
    """A table on stdout; columns after the first two are numbers; None draws a rule."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for position, name in enumerate(header):
        table.add_column(name, justify="left" if position < 2 or name == "note" else "right", overflow="fold")
    for line in lines:
        if line is None:
            table.add_section()
        else:
            table.add_row(*line)
    _stdout().print(table)


def show_verdicts(verdicts: Sequence[Verdict]) -> None:
    """The verdicts on stdout."""
    table = Table(title="verdicts", title_justify="left", title_style="bold")
    for name in ("line", "goal", "measured", "met"):
        table.add_column(name, overflow="fold")
    for verdict in verdicts:
        without = "not measured" if verdict.measured is None else ""
        met = {True: "yes", False: "NO", None: without}[verdict.met]
        table.add_row(verdict.line, verdict.goal, verdict.measured or "", met)
    _stdout().print(table)


def _stdout() -> Console:
    """A terminal is as wide as it is; a file or pipe holds the widest line."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)
