"""Whether the tasks of a config fit together."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from mtl_ray.errors import ConfigError, nearest
from mtl_ray.tasks.classes import ClassTaskSettings
from mtl_ray.tasks.next_item import NextItemTaskConfig, check_next_item
from mtl_ray.tasks.task import TaskSettings

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RESERVED = frozenset({"loss", "row_id", "event_timestamp", "sample_weight"})
"""Names of columns and metrics that stand beside the tasks' own."""


def check_tasks(tasks: Mapping[str, TaskSettings]) -> None:
    """Raise `ConfigError` unless names, weights, `observed_when` and `given` of `tasks` fit together."""
    if not tasks:
        raise ConfigError(
            "The config names no task.",
            where="tasks",
            found="nothing",
            allowed="at least one task",
            fix="add one, for example tasks: {click: {type: binary}}",
        )
    for name in tasks:
        _check_name(name)
    total = math.fsum(task.weight for task in tasks.values())
    if total <= 0.0:
        raise ConfigError(
            "Every task weighs 0, so there is nothing to learn.",
            where=", ".join(f"tasks.{name}.weight" for name in tasks),
            found=total,
            allowed="a positive total",
            fix="give at least one task a positive weight",
        )
    for name, task in tasks.items():
        _check_observed_when(name, tasks)
        if isinstance(task, NextItemTaskConfig):
            check_next_item(name, task, tasks)
    _check_given(tasks)


def in_architecture(tasks: Mapping[str, TaskSettings]) -> dict[str, TaskSettings]:
    """Those that the model's architecture has towers for: all but the `next_item` ones."""
    return {name: task for name, task in tasks.items() if not isinstance(task, NextItemTaskConfig)}


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None or "__" in name or name.endswith("_"):
        raise ConfigError(
            "A task's name cannot be used as a column name.",
            where=f"tasks.{name}",
            found=repr(name),
            allowed="a letter, then letters, digits and single underscores, not ending in one",
            fix=f"rename the task and keep its column with label: {name}",
        )
    if name in _RESERVED:
        raise ConfigError(
            "A task's name is reserved.",
            where=f"tasks.{name}",
            found=repr(name),
            allowed=f"any name but {', '.join(sorted(_RESERVED))}",
            fix=f"rename the task and keep its column with label: {name}",
        )


def _check_observed_when(name: str, tasks: Mapping[str, TaskSettings]) -> None:
    condition = tasks[name].observed_when
    if condition is None:
        return
    where = f"tasks.{name}.observed_when"
    others = [other for other in tasks if other != name]
    allowed = ", ".join(others) if others else "nothing, as there is no other task"
    if condition == name:
        raise ConfigError(
            "A task's label cannot depend on itself.",
            where=where,
            found=condition,
            allowed=allowed,
            fix="name another task, or remove the key",
        )
    if condition not in tasks:
        guess = nearest(condition, others)
        raise ConfigError(
            "observed_when names a task that does not exist.",
            where=where,
            found=condition,
            allowed=allowed,
            fix=f"write {guess}" if guess else "name one of the tasks, or remove the key",
        )
    if isinstance(tasks[condition], ClassTaskSettings):
        raise ConfigError(
            "observed_when names a task with classes, whose label has no zero.",
            where=where,
            found=condition,
            allowed="a task whose label is a number, such as a binary one",
            fix="write NULL in the label column where it was not observed, and remove the key",
        )
    path = [name]
    step: str | None = condition
    while step is not None and step in tasks:
        path.append(step)
        if path.count(step) > 1:
            raise ConfigError(
                "observed_when goes round in a circle.",
                where=where,
                found=" -> ".join(path),
                allowed="a chain that ends in a task without observed_when",
                fix="remove the key from one of them",
            )
        step = tasks[step].observed_when


def _check_given(tasks: Mapping[str, TaskSettings]) -> None:
    for name, task in tasks.items():
        where = f"tasks.{name}.given"
        others = [other for other in tasks if other != name]
        allowed = ", ".join(others) if others else "nothing, as there is no other task"
        for parent in task.given:
            if parent == name:
                raise ConfigError(
                    "A task cannot be given itself.",
                    where=where,
                    found=parent,
                    allowed=allowed,
                    fix="name another task, or remove the key",
                )
            if parent not in tasks:
                guess = nearest(parent, others)
                raise ConfigError(
                    "given names a task that does not exist.",
                    where=where,
                    found=parent,
                    allowed=allowed,
                    fix=f"write {guess}" if guess else "name one of the tasks, or remove the key",
                )
            if task.given.count(parent) > 1:
                raise ConfigError(
                    "given names a task twice.",
                    where=where,
                    found=", ".join(task.given),
                    allowed="each task once",
                    fix=f"write {parent} once",
                )
    try:
        TopologicalSorter({name: task.given for name, task in tasks.items()}).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1][::-1]
        raise ConfigError(
            "given goes round in a circle.",
            where=f"tasks.{cycle[0]}.given",
            found=" -> ".join(cycle),
            allowed="a task graph without a cycle",
            fix="remove the key from one of them",
        ) from None
