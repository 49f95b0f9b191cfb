"""What became of a search, read from Tune's folder: a row a trial, and a row an epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from ray.tune import ExperimentAnalysis

from mtl_ray.schema import Settings
from mtl_ray.storage import below, is_file, read_bytes
from mtl_ray.tuning.folder import TUNE
from mtl_ray.tuning.front import front_of
from mtl_ray.tuning.objective import Objective
from mtl_ray.tuning.points import Values
from mtl_ray.tuning.trial import KEPT, POINT

Status = Literal["finished", "stopped", "failed", "lost"]


class Trial(Settings):
    """One trial."""

    number: int
    status: Status
    """finished: trained to its end, which early stopping may bring; stopped: by the scheduler or the time budget;
    failed: its training cannot go on (it diverged); lost: its process died once more than `max_failures`."""
    values: Values
    seed: int
    objective: tuple[float | None, ...]
    """Of the kept epoch; empty before the first."""
    metrics: dict[str, float | None]
    """All validation metrics of the kept epoch."""
    epochs: int
    kept_epoch: int | None
    seconds: float
    """Of training and validation."""
    failures: int
    """How often it went on after its process was lost."""
    error: str = ""
    checkpoint: str | None = None
    """Folder of the kept epoch's checkpoint, below the search's."""


class Epoch(Settings):
    """One epoch of a trial."""

    trial: int
    epoch: int
    values: Values
    """That it was trained with: in a population they change."""
    metrics: dict[str, float | None]


class Outcome(Settings):
    """A finished search."""

    run: str
    """Its folder or URI."""
    targets: tuple[str, ...]
    greater_is_better: tuple[bool, ...]
    trials: tuple[Trial, ...]
    epochs: tuple[Epoch, ...] = Field(default=(), exclude=True)
    wall_seconds: float
    """From the start of the first trials to the end of the last ones; a session that was killed does not count."""
    concurrent: int

    @property
    def objective_scores(self) -> dict[int, tuple[float, ...]]:
        """Trial -> its objective, turned so that larger is better, of the finished trials that have one."""
        signs = [1.0 if greater else -1.0 for greater in self.greater_is_better]
        return {
            trial.number: tuple(sign * value for sign, value in zip(signs, trial.objective, strict=True))  # type: ignore[operator]
            for trial in self.trials
            if trial.status == "finished" and trial.objective and None not in trial.objective
        }

    @property
    def front(self) -> tuple[int, ...]:
        """Trials that no other one dominates; of one objective, the best."""
        return front_of(self.objective_scores)

    def trial(self, number: int) -> Trial:
        """By its number."""
        return next(trial for trial in self.trials if trial.number == number)

    def summary(self) -> dict[str, Any]:
        """What the job prints; JSON types only."""
        counted = {status: sum(trial.status == status for trial in self.trials) for status in Status.__args__}  # type: ignore[attr-defined]
        seconds = sum(trial.seconds for trial in self.trials)
        return {
            "run": self.run,
            "trials": len(self.trials),
            **counted,
            "failures": sum(trial.failures for trial in self.trials),
            "epochs": sum(trial.epochs for trial in self.trials),
            "training_seconds": round(seconds, 1),
            "wall_seconds": round(self.wall_seconds, 1),
            "concurrent": self.concurrent,
            "front": [
                {
                    "trial": number,
                    "objective": dict(zip(self.targets, self.trial(number).objective, strict=True)),
                    "values": self.trial(number).values,
                }
                for number in self.front
            ],
        }


def read_outcome(place: str, objective: Objective, population: bool, wall_seconds: float, concurrent: int) -> Outcome:
    """What Tune's folder `<place>/tune` says.

    `place`: folder or URI of the search. `population`: members take over each other's values and number, and are
    counted in the order of their start.
    """
    trials, epochs = [], []
    for at, found in enumerate(ExperimentAnalysis(below(place, TUNE)).trials):
        point = found.config[POINT]
        number = at if population else point["number"]
        trials.append(_trial(number, found))
        epochs += _epochs(number, below(place, TUNE, Path(found.path).name, "result.json"))
    return Outcome(
        run=place,
        targets=objective.names,
        greater_is_better=tuple(target.greater_is_better for target in objective.targets),
        trials=tuple(sorted(trials, key=lambda trial: trial.number)),
        epochs=tuple(epochs),
        wall_seconds=wall_seconds,
        concurrent=concurrent,
    )


def _trial(number: int, found: Any) -> Trial:
    result = found.last_result or {}
    point = found.config[POINT]
    checkpoint = None if found.checkpoint is None else Path(found.checkpoint.path).name
    return Trial(
        number=number,
        status="lost" if found.status == "ERROR" else result.get("ended") or "stopped",
        values=point["values"],
        seed=point["seed"],
        objective=tuple(_number(value) for value in result.get("objective", ())),
        metrics={name: _number(value) for name, value in (result.get("kept") or {}).items()},
        epochs=result.get("epoch", 0),
        kept_epoch=result.get("kept_epoch"),
        seconds=result.get("training_seconds", 0.0),
        failures=found.num_failures,
        error=result.get("error") or _last_error(found),
        checkpoint=None if checkpoint is None else below(TUNE, Path(found.path).name, checkpoint, KEPT),
    )


def _last_error(found: Any) -> str:
    """The last line of the traceback of a trial that was given up."""
    if found.status != "ERROR":
        return ""
    text = found.get_error()
    lines = text.strip().splitlines() if text else []
    return lines[-1] if lines else "its process was lost"


def _epochs(number: int, file: str) -> list[Epoch]:
    """Epochs of a trial's log. One that was repeated after a failure counts once, as it was the last time."""
    found: dict[int, Epoch] = {}
    for line in read_bytes(file).decode().splitlines() if is_file(file) else ():
        result = json.loads(line)
        metrics = {name: _number(value) for name, value in result.items() if name.startswith(("validation/", "train/"))}
        if metrics:
            values = result["config"][POINT]["values"]
            found[result["epoch"]] = Epoch(trial=number, epoch=result["epoch"], values=values, metrics=metrics)
    return [found[epoch] for epoch in sorted(found)]


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def trial_row(trial: Trial, targets: tuple[str, ...]) -> Mapping[str, Any]:
    """A row of trials.parquet: parameters as JSON and each as a column, objectives, and all validation metrics."""
    objective = trial.objective or (None,) * len(targets)
    columns = {f"values/{key}": _column(value) for key, value in trial.values.items()}
    fixed = trial.model_dump(exclude={"values", "objective", "metrics"})
    objectives = {f"objective/{name}": value for name, value in zip(targets, objective, strict=True)}
    return {**fixed, "values": json.dumps(trial.values), **columns, **objectives, **trial.metrics}


def _column(value: Any) -> Any:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else json.dumps(value)
