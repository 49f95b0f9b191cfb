"""`comparison.html` and `comparison.json`: a comparison as one page that works offline, and as data."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Template
from markupsafe import Markup

from mtl_ray.comparison.result import Comparison, Training
from mtl_ray.comparison.wording import Line, lines, method, verdict_sentence
from mtl_ray.data.join.fragments import atomic_file
from mtl_ray.report.formatting import ABSENT, count, duration, moment
from mtl_ray.report.glossary import metric_info
from mtl_ray.report.page import REPORT_FILE
from mtl_ray.report.templates import environment, resource
from mtl_ray.storage import below, relative

PAGE_FILE = "comparison.html"
RESULT_FILE = "comparison.json"

_TAGS = {"harmed": "stop", "worse": "warn", "not defined": "warn"}


def write_page(comparison: Comparison, folder: Path) -> None:
    """Write both files into `folder`. The same comparison gives the same bytes."""
    with atomic_file(folder / PAGE_FILE) as aside:
        aside.write_text(render(comparison), encoding="utf-8")
    with atomic_file(folder / RESULT_FILE) as aside:
        aside.write_text(comparison.model_dump_json(indent=2))


def render(comparison: Comparison) -> str:
    """The page as HTML; everything that came from files is escaped. Links to runs are relative to its folder."""
    groups = []
    for task, metric, found in lines(comparison):
        scale = _Scale(found)
        cells = [{"line": line, "tag": _TAGS.get(line.verdict, ""), "drawn": scale.drawn(line)} for line in found]
        groups.append({"task": task, "metric": metric_info(metric).title, "cells": cells, "zero": scale.at(0.0)})
    facts = [
        (f"Rows judged ({comparison.split})", count(comparison.rows)),
        ("Trainings", count(len(comparison.trainings))),
        ("Training set", Path(comparison.training_set).name),
    ]
    return _template().render(
        title=comparison.name,
        when=moment(comparison.created),
        verdict=verdict_sentence(comparison),
        facts=facts,
        groups=groups,
        trainings=[_training(training, comparison.folder) for training in comparison.trainings],
        transfer=bool(comparison.transfer),
        method=method(comparison),
        style=Markup(resource("mtl_ray.report", "style.css")),
    )


class _Scale:
    """From a difference to percent of the width of a bar chart, for the lines of one metric."""

    def __init__(self, found: list[Line]) -> None:
        ends = [end for line in found if line.item for end in (line.item.low, line.item.high) if end is not None]
        self._low, self._high = min([0.0, *ends]), max([0.0, *ends])
        margin = 0.05 * (self._high - self._low) or 1.0
        self._low, self._high = self._low - margin, self._high + margin

    def at(self, value: float) -> float:
        return 100.0 * (value - self._low) / (self._high - self._low)

    def drawn(self, line: Line) -> dict[str, float] | None:
        item = line.item
        if item is None or item.low is None or item.high is None or item.difference is None:
            return None
        return {"low": self.at(item.low), "high": self.at(item.high), "at": self.at(item.difference)}


def _training(training: Training, folder: str) -> dict[str, str | None]:
    report = None
    if training.run is not None:
        report = relative(below(training.run, REPORT_FILE), folder)
    return {
        "name": training.name,
        "model": training.model,
        "twin_of": training.twin_of,
        "parameters": count(training.parameters),
        "seconds": duration(training.seconds),
        "run": ABSENT if training.run is None else Path(training.run).name,
        "report": report,
        "error": training.error,
    }


@cache
def _template() -> Template:
    return environment("mtl_ray.comparison").get_template("page.html")
