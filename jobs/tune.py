"""Search task weights, architecture and training on one training set; promote a trial to a model.

python jobs/tune.py --config C.yaml --space S.yaml [--trials 24 --concurrent 2 --time-budget 2h] [--resume auto]
python jobs/tune.py --resume RUN
python jobs/tune.py --run RUN --promote TRIAL
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtl_ray.command_line import console, emit, run, say
from mtl_ray.tuning.request import request
from mtl_ray.tuning.table import search_table


def main(
    config: Annotated[Path | None, typer.Option(help="YAML config that the search starts from.")] = None,
    space: Annotated[Path | None, typer.Option(help="YAML file: parameters, objective, searcher, scheduler.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="dotted.key=value, for the config")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Number of trials; else 20, or the whole grid.")] = None,
    concurrent: Annotated[int | None, typer.Option(min=1, help="Trials at a time; else all that fit.")] = None,
    time_budget: Annotated[str | None, typer.Option(help="Such as 90s, 30m or 2h: then running trials stop.")] = None,
    resume: Annotated[str | None, typer.Option(help="Go on with this search; auto: one asked for like this.")] = None,
    run: Annotated[str | None, typer.Option(help="Finished search, for --promote.")] = None,
    promote: Annotated[int | None, typer.Option(help="Train this trial on train and validation, test it once.")] = None,
) -> None:
    """Write tables, configs of the front and tuning.html into <storage>/searches/."""
    found = request(config, space, overrides or (), trials, concurrent, time_budget, resume, run, promote, say)
    emit(found.summary())
    console.print(search_table(found))


if __name__ == "__main__":
    run(main)
