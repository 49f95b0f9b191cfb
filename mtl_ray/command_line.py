"""What the jobs share: the result as JSON on stdout, everything for the eye on stderr, an exit status that tells."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

from mtl_ray.errors import MtlRayError

console = Console(stderr=True)
"""For the eye: progress, tables, errors. Stdout carries the result alone, so that a job can be piped."""


def say(sentence: str) -> None:
    """Tell what is being done."""
    console.print(f"· {sentence}", highlight=False, markup=False, soft_wrap=True)


def emit(result: dict[str, Any]) -> None:
    """Print the job's result as one JSON object."""
    sys.stdout.write(json.dumps(result, indent=2, default=str) + "\n")
    sys.stdout.flush()


def run(command: Callable[..., None]) -> None:
    """Run a job's command with typer.

    A `MtlRayError` is printed without a traceback and ends the process with its exit status: 2 for what the user can
    mend, 1 for a failure. Any other exception is a fault of ours and keeps its traceback.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app()
    except MtlRayError as error:
        console.print("error", style="bold red", end=": ")
        console.print(str(error), highlight=False, markup=False, soft_wrap=True)
        sys.exit(error.exit_status)
