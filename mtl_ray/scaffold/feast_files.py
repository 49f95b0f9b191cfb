"""The Feast repository of a project, as text."""

from __future__ import annotations

from collections.abc import Iterable

from mtl_ray.scaffold.columns import Column
from mtl_ray.scaffold.project import Entity, Project, View

OFFLINE_STORE = "mtl_ray.data.offline_store.PointInTimeOfflineStore"
"""`offline_store.type` of the written feature_store.yaml."""


_LONGEST_FIELD = 100
"""Characters of a field on one line."""


def feast_files(project: Project) -> dict[str, str]:
    """File name -> content. Nothing in them names a folder: the repository can be moved with its data."""
    return {
        "feature_store.yaml": _settings(project),
        ".feastignore": "data/\n",
        "entities.py": _entities(project),
        "data_sources.py": _sources(project),
        "feature_views.py": _views(project),
        "feature_services.py": _service(project),
    }


def _settings(project: Project) -> str:
    return f"""\
project: {project.name}
provider: local
registry: data/registry.db
offline_store:
  type: {OFFLINE_STORE}
online_store:
  type: sqlite
  path: data/online_store.db
entity_key_serialization_version: 3
"""


def _entities(project: Project) -> str:
    blocks = [
        f"""
{_variable(entity)} = Entity(
    name={_text(entity.name)},
    join_keys=[{_text(entity.key)}],
    value_type=ValueType.{entity.dtype.upper()},
    description={_text(entity.description)},
)
"""
        for entity in project.entities
    ]
    return '"""Who and what the features describe."""\n\nfrom feast import Entity, ValueType\n' + "".join(blocks)


def _sources(project: Project) -> str:
    blocks = [f"{view.name}_source = _table({_text(view.name)}, {_text(view.description)})\n" for view in project.views]
    return f'''\
"""The feature tables of {project.name}. Their paths are computed, so that the folder can be moved."""

from pathlib import Path

from feast import FileSource

DATA = Path(__file__).resolve().parent.parent / "data"


def _table(name: str, description: str) -> FileSource:
    return FileSource(
        name=name,
        path=str(DATA / "features" / f"{{name}}.parquet"),
        timestamp_field="event_timestamp",
        description=description,
    )


{"".join(blocks)}'''


def _views(project: Project) -> str:
    types = sorted({part for view in project.views for column in view.columns for part in _imports(column)})
    entities = sorted({_variable(entity) for view in project.views for entity in view.entities})
    sources = sorted(f"{view.name}_source" for view in project.views)
    return f'''\
"""What is known of each entity. A field that the service leaves out says why."""

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import {", ".join(types)}

from data_sources import {", ".join(sources)}
from entities import {", ".join(entities)}
{"".join(_view(view) for view in project.views)}'''


def _view(view: View) -> str:
    fields = "".join(f"        {_field(column)},\n" for column in view.columns)
    return f"""
{view.name} = FeatureView(
    name={_text(view.name)},
    entities=[{", ".join(_variable(entity) for entity in view.entities)}],
    # Zero: a value holds until a newer one comes.
    ttl=timedelta(0),
    schema=[
{fields}    ],
    source={view.name}_source,
    description={_text(view.description)},
)
"""


def _field(column: Column) -> str:
    parts = [f"name={_text(column.name)}", f"dtype={_dtype(column)}"]
    if column.encoding == "categorical" and column.dtype in ("Int64", "Float64"):
        parts.append('tags={"encoding": "categorical"}')
    said = []
    if column.original != column.name:
        said.append(f"From column {column.original!r}.")
    if column.warning is not None:
        left = "" if column.used else "; not in the service"
        said.append(f"{column.warning.capitalize()}: {column.reason}{left}.")
    if said:
        parts.append(f"description={_text(' '.join(said))}")
    line = f"Field({', '.join(parts)})"
    if len(line) <= _LONGEST_FIELD:
        return line
    return "Field(\n" + "".join(f"            {part},\n" for part in parts) + "        )"


def _service(project: Project) -> str:
    views = sorted(view.name for view in project.views)
    chosen = "".join(f"        {_projection(view)},\n" for view in project.views)
    labels = ", ".join(label.name for label in project.labels)
    return f'''\
"""The contract of the model. A service that a model was trained on is never changed: a new version gets a new name."""

from feast import FeatureService

from feature_views import {", ".join(views)}

{project.service} = FeatureService(
    name={_text(project.service)},
    features=[
{chosen}    ],
    description={_text(f"Inputs of the model that predicts {labels}.")},
)
'''


def _projection(view: View) -> str:
    used = [column.name for column in view.columns if column.used]
    if len(used) == len(view.columns):
        return view.name
    return f"{view.name}[[{', '.join(map(_text, used))}]]"


def _dtype(column: Column) -> str:
    return str(column.dtype)


def _imports(column: Column) -> Iterable[str]:
    return _dtype(column).removesuffix(")").split("(")


def _variable(entity: Entity) -> str:
    """Python name of the entity; a view may have the same name as an entity's."""
    return f"{entity.name}_entity".replace("_entity_entity", "_entity")


def _text(value: str) -> str:
    """`value` as a Python literal in double quotes."""
    escaped = repr(value)[1:-1].replace("\\'", "'").replace('"', '\\"')
    return f'"{escaped}"'
