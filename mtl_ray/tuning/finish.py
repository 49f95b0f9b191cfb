"""What a search leaves for its user: tables, configs and the page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mtl_ray.config import Config
from mtl_ray.data.join.fragments import atomic_file
from mtl_ray.run_folder import write_config, write_json
from mtl_ray.storage import below, prune
from mtl_ray.tuning.check import check_search
from mtl_ray.tuning.folder import EPOCHS_FILE, RUNS, SEARCH_FILE, TRIALS_FILE, TUNE, SearchFolder
from mtl_ray.tuning.outcome import Outcome, Trial, read_outcome, trial_row
from mtl_ray.tuning.page import write_page
from mtl_ray.tuning.resolve import resolved
from mtl_ray.tuning.settings import POPULATIONS

FRONT = "front"


def finish(folder: SearchFolder, wall_seconds: float, say: Callable[[str], None]) -> Outcome:
    """Read what Tune left in the folder of a search, and write tables, configs and the page beside it."""
    config, found = folder.config(), folder.result()
    outcome = read(folder, wall_seconds)
    _write_table([trial_row(trial, outcome.targets) for trial in outcome.trials], folder, TRIALS_FILE)
    epochs = [
        {"trial": item.trial, "epoch": item.epoch, "values": json.dumps(item.values), **item.metrics}
        for item in outcome.epochs
    ]
    if epochs:
        _write_table(epochs, folder, EPOCHS_FILE)
    shutil.rmtree(folder.path / FRONT, ignore_errors=True)
    (folder.path / FRONT).mkdir()
    for number in outcome.front:
        write_config(folder.path / FRONT / f"trial-{number}.yaml", config_of(config, outcome.trial(number)))
    objective = check_search(config, folder.settings())
    types = {name: task.type for name, task in config.tasks.items()}
    write_page(outcome, objective, folder.settings().space, types, folder.asked().created, folder.path)
    write_json(folder.path / SEARCH_FILE, {**found, "result": outcome.summary()})
    folder.publish(leave_out=(TUNE, RUNS), last=(SEARCH_FILE,))
    if folder.uri is not None:
        prune(below(folder.uri, FRONT), folder.path / FRONT)
    say(f"written to {folder.place}")
    return outcome


def read(folder: SearchFolder, more_seconds: float = 0.0) -> Outcome:
    """What is known of a search. `more_seconds`: how long it has run since `search.json` was last written."""
    settings = folder.settings()
    before = folder.result().get("result", {}).get("wall_seconds", 0.0)
    return read_outcome(
        folder.place,
        check_search(folder.config(), settings),
        settings.scheduler.name in POPULATIONS,
        before + more_seconds,
        folder.asked().concurrent,
    )


def config_of(config: Config, trial: Trial) -> Config:
    """The config that trains a trial again, with jobs/train.py."""
    found = resolved(config.model_dump(mode="json"), trial.values, trial.seed)
    return found.model_copy(update={"name": f"{config.name}-trial-{trial.number}"})


def _write_table(rows: list[Any], folder: SearchFolder, name: str) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = pa.table({column: [row.get(column) for row in rows] for column in columns})
    with atomic_file(folder.path / name) as aside:
        pq.write_table(table, aside)
