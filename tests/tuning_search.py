"""jobs/tune.py, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def command(*options: str) -> list[str]:
    """The job's command line."""
    return [sys.executable, str(ROOT / "jobs" / "tune.py"), *options]


def run_job(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it in `folder` to its end."""
    return subprocess.run(command(*options), cwd=folder, capture_output=True, text=True, check=False)
