"""From flat tables to a project that trains: read, look at each column, decide, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mtl_ray.config import parse_config
from mtl_ray.errors import ConfigError
from mtl_ray.scaffold.config_file import config_text
from mtl_ray.scaffold.feast_files import feast_files
from mtl_ray.scaffold.names import safe_name
from mtl_ray.scaffold.planning import plan_project
from mtl_ray.scaffold.project import Project
from mtl_ray.scaffold.read_table import read_table
from mtl_ray.scaffold.readme_file import next_commands, readme_text, shown
from mtl_ray.scaffold.tables import read_choices, read_source
from mtl_ray.scaffold.written import check_folder, write_project


@dataclass(frozen=True, eq=False)
class Scaffold:
    """A project that was written."""

    project: Project
    folder: str
    commands: tuple[str, ...]
    """What to type next, in the working directory."""

    def summary(self) -> dict[str, Any]:
        """The job's result."""
        project = self.project
        return {
            "project": self.folder,
            "config": f"{self.folder}/config.yaml",
            "rows": project.rows,
            "labels": {
                label.name: {"column": label.original, **label.task, "observed": label.observed, "said": label.notes}
                for label in project.labels
            },
            "entities": [entity.key for entity in project.entities],
            "inputs": {column.name: column.encoding for column in project.inputs},
            "warnings": project.warnings,
            "notes": project.notes,
            "next": self.commands,
        }


def scaffold(
    tables: Sequence[Path],
    out: Path,
    labels: Sequence[str],
    *,
    entities: Sequence[str] = (),
    timestamp: str | None = None,
    keep: Sequence[str] = (),
    force: bool = False,
    jobs: Path,
    progress: Callable[[str], None] | None = None,
) -> Scaffold:
    """Write a project for `tables` to the folder `out`; the first is the spine, the others are feature tables.

    `labels`: `NAME:TYPE` or `NAME`; `keep`: columns to use in spite of a warning; `jobs`: folder of the jobs, for the
    commands. Raises `DataError` for a table or column that cannot be used, `ConfigError` for a name that is not in
    it, `StorageError` for a folder that is not empty (without `force`) or cannot be written.
    """
    say = progress or (lambda _: None)
    check_folder(out, tables, force)
    stems = [path.name.split(".")[0] for path in tables]
    if len(set(stems)) < len(stems):
        raise ConfigError("Two tables have the same name.", where="--table", found=", ".join(map(str, tables)))
    sources = []
    for stem, path in zip(stems, tables, strict=True):
        say(f"reading {path}")
        sources.append(read_source(stem, read_table(path)))
    choices = read_choices(sources, labels, entities, timestamp, keep)
    say(f"looking at {sum(len(source.values) for source in sources)} columns of {sources[0].rows:,} rows")
    project = plan_project(safe_name(out.absolute().name, "project"), sources, choices)
    folder = shown(out)
    config = config_text(project, folder)
    parse_config(yaml.safe_load(config))
    commands = next_commands(folder, jobs)
    texts = {f"feature_repo/{name}": text for name, text in feast_files(project).items()}
    texts |= {"config.yaml": config, "README.md": readme_text(project, [str(path) for path in tables], commands)}
    parquet = {f"data/features/{view.name}.parquet": view.table for view in project.views}
    write_project(out, {"data/spine/part-0.parquet": project.spine, **parquet}, texts)
    say(f"wrote {folder}: config.yaml, README.md, data/, feature_repo/")
    return Scaffold(project, folder, commands)
