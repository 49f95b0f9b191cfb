"""Task types: a task is a label with a type.

Adding a type: one new file with a `TaskSettings` leaf and its `Task`, and one member of the union below.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mtl_ray.tasks.binary import BinaryTask, BinaryTaskConfig
from mtl_ray.tasks.check import check_tasks
from mtl_ray.tasks.classes import ClassTaskSettings
from mtl_ray.tasks.multiclass import MulticlassTask, MulticlassTaskConfig
from mtl_ray.tasks.next_item import NextItemTask, NextItemTaskConfig
from mtl_ray.tasks.ordinal import OrdinalTask, OrdinalTaskConfig
from mtl_ray.tasks.regression import RegressionTask, RegressionTaskConfig
from mtl_ray.tasks.task import NO_INPUTS, Task, TaskSettings
from mtl_ray.tasks.value import ValueTask, ValueTaskConfig
from mtl_ray.tasks.watch_time import WatchTimeTask, WatchTimeTaskConfig

TaskConfig = Annotated[
    BinaryTaskConfig
    | MulticlassTaskConfig
    | NextItemTaskConfig
    | OrdinalTaskConfig
    | RegressionTaskConfig
    | ValueTaskConfig
    | WatchTimeTaskConfig,
    Field(discriminator="type"),
]

__all__ = [
    "NO_INPUTS",
    "BinaryTask",
    "BinaryTaskConfig",
    "ClassTaskSettings",
    "MulticlassTask",
    "MulticlassTaskConfig",
    "NextItemTask",
    "NextItemTaskConfig",
    "OrdinalTask",
    "OrdinalTaskConfig",
    "RegressionTask",
    "RegressionTaskConfig",
    "Task",
    "TaskConfig",
    "TaskSettings",
    "ValueTask",
    "ValueTaskConfig",
    "WatchTimeTask",
    "WatchTimeTaskConfig",
    "check_tasks",
]
