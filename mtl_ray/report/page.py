"""Writes `report.html`: one file that shows a run, offline, to whoever opens it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from jinja2 import Template
from markupsafe import Markup

from mtl_ray.errors import StorageError
from mtl_ray.report.content import Page, collect
from mtl_ray.report.formatting import ABSENT
from mtl_ray.report.run_files import read_run
from mtl_ray.report.templates import environment, resource
from mtl_ray.run_folder import RunFolder
from mtl_ray.storage import below
from mtl_ray.tracking import add_report

REPORT_FILE = "report.html"

PACKAGE = "mtl_ray.report"


def publish_report(place: Path | str) -> str:
    """Write the report of the run at `place`, and bring it to its MLflow run and its object store, where it has them;
    returns where it lies. Raises as `write_report` does."""
    run = RunFolder.open(place)
    report = write_report(run.path)
    add_report(run.path, report)
    run.publish()
    return below(run.place, REPORT_FILE)


def write_report(run: Path) -> Path:
    """Write `<run>/report.html` from the files of the run folder `run`, whole or not at all; returns its path.

    The same files give the same bytes.

    Raises:
        UserError: a file of the run is absent or damaged, or the folder cannot be written; the message names it.
    """
    html = render(collect(read_run(run)))
    path = run / REPORT_FILE
    aside = run / f".{REPORT_FILE}.{os.getpid()}"
    try:
        aside.write_text(html, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise StorageError(
            "The report cannot be written.",
            where=str(path),
            found=error.strerror,
            fix="make the run folder writable, with free space",
        ) from error
    return path


def render(page: Page) -> str:
    """The page as HTML; everything that came from files is escaped."""
    return _template().render(page=page, style=Markup(resource(PACKAGE, "style.css")), absent=ABSENT)


@cache
def _template() -> Template:
    return environment(PACKAGE).get_template("template.html")
