"""`task_affinity.html` and `task_affinity.json`: the result as one page that works offline, and as data."""

from __future__ import annotations

from functools import cache

from jinja2 import Template
from markupsafe import Markup

from mtl_ray.affinity.result import Means, TaskAffinity
from mtl_ray.affinity.wording import (
    VERDICTS,
    groups_text,
    interval,
    method,
    runner_up_text,
    scale,
    service,
    signed,
    verdict_sentence,
    wins_text,
)
from mtl_ray.data.join.fragments import atomic_file
from mtl_ray.data.staging import ResultFolder
from mtl_ray.report.formatting import count
from mtl_ray.report.heat import HeatCell, HeatTable
from mtl_ray.report.templates import environment, resource
from mtl_ray.storage import below

PAGE_FILE = "task_affinity.html"
RESULT_FILE = "task_affinity.json"

_TAGS = {"better": "", "within noise": "warn", "together": ""}


def write_page(found: TaskAffinity, folder: ResultFolder) -> TaskAffinity:
    """Write both files into `folder`; returns the result with the page's path. The same result gives the same bytes."""
    found = found.model_copy(update={"page": below(folder.place, PAGE_FILE)})
    with atomic_file(folder.path / PAGE_FILE) as aside:
        aside.write_text(render(found), encoding="utf-8")
    with atomic_file(folder.path / RESULT_FILE) as aside:
        aside.write_text(found.model_dump_json(indent=2))
    return found


def render(found: TaskAffinity) -> str:
    """The page as HTML; everything that came from files is escaped."""
    largest = scale(found)
    groupings = [
        {
            "most": grouping.most,
            "groups": groups_text(grouping.groups),
            "service": service(grouping),
            "score": signed(grouping.score.value, largest),
            "score_interval": interval(grouping.score, found),
            "gain": signed(grouping.gain.value, largest),
            "gain_interval": interval(grouping.gain, found),
            "wins": wins_text(grouping),
            "runner_up": runner_up_text(grouping, found),
            "verdict": VERDICTS[grouping.verdict],
            "tag": _TAGS[grouping.verdict],
        }
        for grouping in found.groupings
    ]
    together = {"score": signed(found.together.value, largest), "interval": interval(found.together, found)}
    facts = [
        ("Tasks", count(len(found.tasks))),
        ("Measured steps", count(found.steps)),
        ("Steps of the training", count(found.training_steps)),
    ]
    return _template().render(
        title=found.name,
        verdict=verdict_sentence(found),
        facts=facts,
        together=together,
        groupings=groupings,
        affinity=_heat(_whole(found)),
        thirds=[_heat(_part(found, name, means)) for name, means in found.thirds.items()],
        method=method(found),
        run=found.run,
        style=Markup(resource("mtl_ray.report", "style.css")),
    )


def _whole(found: TaskAffinity) -> HeatTable:
    values = tuple(tuple(cell.value for cell in row) for row in found.affinity)
    notes = tuple(tuple(interval(cell, found) for cell in row) for row in found.affinity)
    title = "By how many % of its loss a step for the task of the row lowers the task of the column"
    return _table(found, title, "mean over the measured steps, with its interval", values, notes)


def _part(found: TaskAffinity, name: str, means: Means) -> HeatTable:
    return _table(found, f"{name.capitalize()} third", "of the measured steps", means, None)


def _table(
    found: TaskAffinity, title: str, note: str, values: Means, notes: tuple[tuple[str, ...], ...] | None
) -> HeatTable:
    largest = scale(found)
    rows = []
    for i, task in enumerate(found.tasks):
        cells = []
        for j, value in enumerate(values[i]):
            coloured = value is not None and i != j and largest > 0
            strength = round(100 * min(abs(value or 0.0) / largest, 1.0), 1) if coloured else 0.0
            sign = ("plus" if (value or 0.0) > 0 else "minus") if coloured else ""
            cells.append(HeatCell(signed(value, largest), notes[i][j] if notes else None, sign, strength))
        rows.append((task, tuple(cells)))
    return HeatTable(title, note, "step for", found.tasks, tuple(rows))


def _heat(table: HeatTable) -> Markup:
    return Markup(_heat_template().make_module().heat(table))  # type: ignore[attr-defined]


@cache
def _heat_template() -> Template:
    return environment("mtl_ray.report").get_template("heat.html")


@cache
def _template() -> Template:
    return environment("mtl_ray.affinity").get_template("page.html")
