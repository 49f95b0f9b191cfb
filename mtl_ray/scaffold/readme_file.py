"""The README of a project, and the commands that come next."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from mtl_ray.scaffold.project import Project


def next_commands(folder: str, jobs: Path) -> tuple[str, ...]:
    """Apply, train, evaluate: three commands for a shell in the working directory, with this process's Python."""
    python = Path(sys.executable)
    feast = python.parent / "feast"
    config, repo, run = f"{folder}/config.yaml", f"{folder}/feature_repo", f"{folder}/runs/latest"
    return (
        shlex.join([shown(feast) if feast.exists() else "feast", "--chdir", repo, "apply"]),
        shlex.join([shown(python), shown(jobs / "train.py"), "--config", config]),
        shlex.join([shown(python), shown(jobs / "evaluate.py"), "--run", run]),
    )


def shown(path: Path) -> str:
    """`path` relative to the working directory where it lies below, else absolute; links are not followed."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)


def readme_text(project: Project, sources: list[str], commands: tuple[str, ...]) -> str:
    """What was found in the tables `sources`, what was decided, and what to type next."""
    split = "time: the newest tenth tests" if project.timed else "chance: a random tenth tests"
    listed = "\n".join(f"    {command}" for command in commands)
    parts = [
        f"# {project.name}",
        f"Made from {', '.join(f'`{source}`' for source in sources)}: {project.rows:,} rows, "
        f"{len(project.inputs) + len(project.keys)} inputs, {len(project.labels)} labels, split by {split}.",
        "## Next",
        listed,
        "Type them in the folder in which the scaffold was made: the paths in `config.yaml` count from there. Training "
        "builds the training set first.",
        "## Labels",
        _rows(
            ("label", "type", "observed", "said"),
            [(f"`{one.name}`", one.type, f"{one.observed:,}", "; ".join(one.notes)) for one in project.labels],
        ),
        "A missing label is not observed: it adds nothing to the loss.",
        "## Columns",
        _rows(("column", "where", "as", "missing", "said"), list(column_rows(project, code=True))),
    ]
    if project.warnings:
        parts += [
            "Columns that are left out stay in the Parquet files where they can be features. To use one, write the "
            "scaffold again with `--keep COLUMN`, or add it to `feature_repo/feature_services.py` under a new name.",
        ]
    if project.notes:
        parts += ["## Decided on the way", "\n".join(f"- {note}" for note in project.notes)]
    return "\n\n".join(parts) + "\n"


def column_rows(project: Project, code: bool = False) -> list[tuple[str, str, str, str, str]]:
    """A row a column: name, where it is, how it enters the model, share missing, and what was pointed out."""
    mark = "`" if code else ""
    rows = [
        (f"{mark}{key}{mark}", "join key", "categorical" if key in project.keys else "not an input", "0 %", "")
        for key in (entity.key for entity in project.entities)
    ]
    for place, column in project.placed:
        how = str(column.encoding) if column.used else "left out"
        said = f"{column.warning}: {column.reason}" if column.warning else ""
        rows.append((f"{mark}{column.name}{mark}", place or "-", how, f"{column.missing:.0%}".replace("%", " %"), said))
    return rows


def _rows(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [titles, tuple("-" for _ in titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
