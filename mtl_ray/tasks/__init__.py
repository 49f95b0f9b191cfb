"""Task types: a task is a label with a type.

Adding a type: one new file with a `TaskSettings` leaf and its `Task`, and one member of the union below.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mtl_ray.tasks.binary import BinaryTask, BinaryTaskConfig
from mtl_ray.tasks.check import check_tasks
from mtl_ray.tasks.multiclass import MulticlassTask, MulticlassTaskConfig
from mtl_ray.tasks.regression import RegressionTask, RegressionTaskConfig
from mtl_ray.tasks.task import Task, TaskSettings

TaskConfig = Annotated[
    BinaryTaskConfig | MulticlassTaskConfig | RegressionTaskConfig,
    Field(discriminator="type"),
]

__all__ = [
    "BinaryTask",
    "BinaryTaskConfig",
    "MulticlassTask",
    "MulticlassTaskConfig",
    "RegressionTask",
    "RegressionTaskConfig",
    "Task",
    "TaskConfig",
    "TaskSettings",
    "check_tasks",
]
