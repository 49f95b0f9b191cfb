"""`leak_check.html` and `leak_check.json`: a check as one page that works offline, and as data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from jinja2 import Template
from markupsafe import Markup

from mtl_ray.data.join.fragments import atomic_file
from mtl_ray.data.staging import ResultFolder
from mtl_ray.leak_check.result import Inflation, LeakCheck
from mtl_ray.leak_check.wording import auc, interval, method, share, signed, verdict_sentence
from mtl_ray.report.formatting import count
from mtl_ray.report.templates import environment, resource
from mtl_ray.storage import below

PAGE_FILE = "leak_check.html"
RESULT_FILE = "leak_check.json"

_SMALLEST_SCALE = 0.01


def write_page(check: LeakCheck, folder: ResultFolder) -> LeakCheck:
    """Write both files into `folder`; returns the check with the page's path. The same check gives the same bytes."""
    check = check.model_copy(update={"page": below(folder.place, PAGE_FILE)})
    with atomic_file(folder.path / PAGE_FILE) as aside:
        aside.write_text(render(check), encoding="utf-8")
    with atomic_file(folder.path / RESULT_FILE) as aside:
        aside.write_text(check.model_dump_json(indent=2))
    return check


def render(check: LeakCheck) -> str:
    """The page as HTML; everything that came from files is escaped."""
    scale = _Scale.of(check)
    groups = [
        *((view.view, share(view.changed), share(view.from_future), view.tasks) for view in check.views),
        ("all views", "", "", check.together),
    ]
    rows = [
        {
            "name": name,
            "changed": changed,
            "future": future,
            "cells": [_cells(task, tasks[task], scale) for task in tasks],
        }
        for name, changed, future, tasks in groups
    ]
    facts = [("Spine rows looked at", count(check.rows)), ("Service", check.service), ("Spine", check.spine)]
    return _template().render(
        title=check.name,
        verdict=verdict_sentence(check),
        facts=facts,
        rows=rows,
        method=method(check),
        confidence=f"{100 * check.confidence:g} %",
        style=Markup(resource("mtl_ray.report", "style.css")),
    )


@dataclass(frozen=True)
class _Scale:
    """From inflation to percent of the width of a bar chart."""

    low: float
    high: float

    @classmethod
    def of(cls, check: LeakCheck) -> _Scale:
        items = [item for tasks in (*(view.tasks for view in check.views), check.together) for item in tasks.values()]
        lows = [item.low for item in items if item.low is not None]
        highs = [item.high for item in items if item.high is not None]
        return cls(min([-_SMALLEST_SCALE, *lows]), max([_SMALLEST_SCALE, *highs]))

    def at(self, value: float) -> float:
        return 100.0 * (value - self.low) / (self.high - self.low)


def _cells(task: str, item: Inflation, scale: _Scale) -> dict[str, object]:
    drawn = None
    if item.inflation is not None and item.low is not None and item.high is not None:
        drawn = {"low": scale.at(item.low), "high": scale.at(item.high), "at": scale.at(item.inflation)}
    return {
        "task": task,
        "exact": auc(item.point_in_time),
        "naive": auc(item.naive),
        "faked": signed(item.inflation),
        "interval": interval(item),
        "verdict": item.verdict,
        "tag": {"leak": "stop", "lower": "warn", "not defined": "warn"}.get(item.verdict, ""),
        "drawn": drawn,
        "zero": scale.at(0.0),
    }


@cache
def _template() -> Template:
    return environment("mtl_ray.leak_check").get_template("page.html")
