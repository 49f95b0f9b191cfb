"""Run a command on a Ray cluster as a job: the working directory is sent, the log shown, the exit status the job's.

python jobs/submit.py --address http://127.0.0.1:8265 -- python -m jobs.train --config CONFIG [dotted.key=value ...]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtl_ray.command_line import run, say
from mtl_ray.submission.submit import follow, parse_environment, submit


def main(
    entrypoint: Annotated[list[str] | None, typer.Argument(help="The command, after --.")] = None,
    address: Annotated[str | None, typer.Option(help="http://HOST:8265; without it RAY_ADDRESS.")] = None,
    working_dir: Annotated[Path, typer.Option(help="The folder that is sent.")] = Path(),
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the job; no secrets.")] = None,
    stop_on_interrupt: Annotated[bool, typer.Option("--stop-on-interrupt", help="Ctrl-C stops the job.")] = False,
    patience: Annotated[float, typer.Option(help="Seconds to try for when the connection is lost.")] = 600,
    job: Annotated[str | None, typer.Option("--follow", help="A job that runs already, by its id.")] = None,
) -> None:
    """Submit a job, or follow one; Ctrl-C leaves it running unless told otherwise."""
    if job is not None:
        raise typer.Exit(follow(job, address, stop_on_interrupt, patience, say))
    environment = parse_environment(env or ())
    raise typer.Exit(submit(entrypoint or (), address, working_dir, environment, stop_on_interrupt, patience, say))


if __name__ == "__main__":
    run(main)
