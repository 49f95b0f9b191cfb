"""`tuning.html`: a search as one page that works offline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Template
from markupsafe import Markup

from mtl_ray.data.join.fragments import atomic_file
from mtl_ray.report.formatting import count, duration, moment, percent, plain
from mtl_ray.report.glossary import headline_metrics
from mtl_ray.report.heat import HeatTable, cosine_cell
from mtl_ray.report.templates import environment, resource
from mtl_ray.tuning.importance import importances, weight_correlations
from mtl_ray.tuning.objective import Objective
from mtl_ray.tuning.outcome import Outcome, Trial
from mtl_ray.tuning.parameters import IntRange, LogUniform
from mtl_ray.tuning.points import Space, is_weight
from mtl_ray.tuning.resolve import in_words

PAGE_FILE = "tuning.html"
PACKAGE = "mtl_ray.tuning"


def write_page(
    outcome: Outcome, objective: Objective, space: Space, types: Mapping[str, str], created: datetime, folder: Path
) -> None:
    """Write the page into the `folder` of the search; the same search gives the same bytes. `types`: of the tasks."""
    with atomic_file(folder / PAGE_FILE) as aside:
        aside.write_text(render(outcome, objective, space, types, created), encoding="utf-8")


def render(outcome: Outcome, objective: Objective, space: Space, types: Mapping[str, str], created: datetime) -> str:
    """The page as HTML; everything that came from files is escaped. Links are relative to the search's folder."""
    summary = outcome.summary()
    changing = {item.trial for item in outcome.epochs if item.values != _first_values(outcome, item.trial)}
    return _template().render(
        title=Path(outcome.run).name,
        when=moment(created),
        verdict=verdict(outcome),
        facts=[
            ("Trials", count(len(outcome.trials))),
            *((name.capitalize(), count(summary[name])) for name in ("finished", "stopped", "failed", "lost")),
            ("Epochs", count(summary["epochs"])),
            ("Trained for", duration(summary["training_seconds"])),
            ("Took", f"{duration(outcome.wall_seconds)}, {outcome.concurrent} at a time"),
        ],
        single=objective.single,
        front=[_front_row(outcome, number) for number in outcome.front],
        targets=[target.removeprefix("validation/") for target in outcome.targets],
        importance=[
            (target.removeprefix("validation/"), [(key, percent(share), 100 * share) for key, share in shares.items()])
            for target, shares in importances(outcome, space).items()
        ],
        sensitivity=_sensitivity(outcome, types),
        population=bool(changing),
        trials=[_row(outcome, trial) for trial in outcome.trials],
        data=Markup(_embedded(_data(outcome, objective, space, bool(changing)))),
        style=Markup(resource("mtl_ray.report", "style.css")),
        script=Markup(resource(PACKAGE, "page.js")),
    )


def verdict(outcome: Outcome) -> str:
    """The search in a sentence."""
    if not outcome.front:
        return "No trial has come to its end."
    names = [target.removeprefix("validation/") for target in outcome.targets]
    if len(names) > 1:
        number = len(outcome.front)
        points = f"{number} trials, none of which beats" if number > 1 else "One trial, which beats"
        return f"{points} another in both {' and '.join(names)}." if number > 1 else f"{points} all others."
    best, first = outcome.trial(outcome.front[0]), outcome.trials[0]
    said = f"Trial {best.number} is the best: {names[0]} {plain(best.objective[0])}"
    if first.number != best.number and first.objective:
        return f"{said}, against {plain(first.objective[0])} of trial 0."
    return f"{said}."


def _first_values(outcome: Outcome, trial: int) -> Any:
    return next(item.values for item in outcome.epochs if item.trial == trial)


def _front_row(outcome: Outcome, number: int) -> dict[str, Any]:
    trial = outcome.trial(number)
    return {
        "number": number,
        "objective": [plain(value) for value in trial.objective],
        "values": in_words(trial.values),
        "file": f"front/trial-{number}.yaml",
    }


def _row(outcome: Outcome, trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "status": trial.status,
        "front": trial.number in outcome.front,
        "objective": [plain(value) for value in trial.objective] or [plain(None)] * len(outcome.targets),
        "epochs": count(trial.epochs),
        "kept": count(trial.kept_epoch),
        "seconds": duration(trial.seconds),
        "failures": count(trial.failures),
        "values": in_words(trial.values),
        "error": trial.error.splitlines()[0] if trial.error else "",
    }


def _sensitivity(outcome: Outcome, types: Mapping[str, str]) -> Markup | None:
    metrics = []
    known = {name for trial in outcome.trials for name in trial.metrics}
    for task, kind in types.items():
        own = {name.rsplit("/", 1)[1] for name in known if name.startswith(f"validation/{task}/")}
        metrics += [f"validation/{task}/{name}" for name in headline_metrics(kind, own)[:1] if name in own]
    found = weight_correlations(outcome, metrics)
    if not found or not metrics:
        return None
    table = HeatTable(
        title="Weights and tasks",
        note="rank correlation over the trials of a weight's share with each task's metric",
        corner="weight of",
        columns=tuple(metric.removeprefix("validation/") for metric in metrics),
        rows=tuple(
            (key.split(".")[1], tuple(cosine_cell(row[metric], diagonal=False) for metric in metrics))
            for key, row in found.items()
        ),
    )
    macro: Any = environment("mtl_ray.report").get_template("heat.html").module
    return Markup(macro.heat(table))


def _data(outcome: Outcome, objective: Objective, space: Space, changing: bool) -> dict[str, Any]:
    """What the script draws."""
    keys = list(dict.fromkeys(key for trial in outcome.trials for key in trial.values))
    metrics = sorted({name for trial in outcome.trials for name in trial.metrics})
    targets = list(outcome.targets)
    curves: dict[int, list[Any]] = {}
    history: dict[str, dict[int, list[Any]]] = {key: {} for key in keys if changing}
    for item in outcome.epochs:
        value = objective.targets[0].value({k: v for k, v in item.metrics.items() if v is not None})
        curves.setdefault(item.trial, []).append([item.epoch, value if value == value else None])
        for key in history:
            history[key].setdefault(item.trial, []).append([item.epoch, item.values.get(key)])
    return {
        "targets": targets,
        "greater": list(outcome.greater_is_better),
        "parameters": keys,
        "metrics": metrics,
        "logarithmic": [key for key in keys if _logarithmic(space, key)],
        "trials": [
            {
                "number": trial.number,
                "status": trial.status,
                "front": trial.number in outcome.front,
                "epochs": trial.epochs,
                "values": {**trial.values, **trial.metrics, **dict(zip(targets, trial.objective, strict=False))},
            }
            for trial in outcome.trials
            if trial.objective
        ],
        "curves": curves,
        "history": {key: lines for key, lines in history.items() if is_weight(key) or lines},
    }


def _logarithmic(space: Space, key: str) -> bool:
    parameter = space.get(key)
    return isinstance(parameter, LogUniform) or (isinstance(parameter, IntRange) and parameter.log)


def _embedded(data: dict[str, Any]) -> str:
    """JSON that no script element can be ended by."""
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


@cache
def _template() -> Template:
    return environment(PACKAGE).get_template("page.html")
