"""Entire-space modelling: Ma et al., Entire Space Multi-Task Model: An Effective Approach for Estimating Post-Click
Conversion Rate, SIGIR 2018; along any task graph, as Wen et al., Entire Space Multi-Task Modeling via Post-Click
Behavior Decomposition for Conversion Rate Prediction, SIGIR 2020, do along one of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import PositiveInt

from mtl_ray.errors import ConfigError
from mtl_ray.models.entire_space import EntireSpace
from mtl_ray.models.settings import ModelSettings
from mtl_ray.models.sharing.shared_bottom import SharedBottom
from mtl_ray.models.sharing.sharing import Sharing
from mtl_ray.tasks import BinaryTaskConfig, Task, TaskSettings
from mtl_ray.tasks.graph import TaskGraph


class EntireSpaceSettings(ModelSettings):
    """Config fields of the architectures that multiply probabilities along the task graph.

    The tower of a task with `given` says P(task | those tasks) as a logit; the task's logits, and so its predictions
    and metrics, are of P(task), the product with those of its ancestors. Its label must stand in every row: 0, not
    NULL, where an ancestor's is 0.
    """

    task_graph: ClassVar[Literal["required"]] = "required"

    bottom: tuple[PositiveInt, ...] = ()
    """Hidden sizes of a shared MLP; none, as in the paper: the tasks share embeddings alone."""
    tower: tuple[PositiveInt, ...] = (256, 64)

    def check_tasks(self, tasks: Mapping[str, TaskSettings]) -> None:
        super().check_tasks(tasks)
        for name, task in tasks.items():
            for member in (name, *task.given) if task.given else ():
                _check_probability(member, tasks[member])
            if task.given and task.observed_when is not None:
                raise ConfigError(
                    "A task that is modelled over the entire space must not be masked.",
                    where=f"tasks.{name}.observed_when",
                    found=task.observed_when,
                    allowed=f"no observed_when beside given: {', '.join(task.given)}",
                    fix="remove observed_when, and write 0, not NULL, into the label column of rows without the "
                    "tasks that it needs",
                )

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> Sharing:
        (in_size,) = in_sizes
        return SharedBottom(self._mlp(in_size, self.bottom), len(graph))


class ESMMConfig(EntireSpaceSettings):
    """`model: {name: esmm}`."""

    name: Literal["esmm"] = "esmm"

    def build_outputs(self, sharing: Sharing, tasks: Mapping[str, Task], graph: TaskGraph) -> EntireSpace:  # noqa: ARG002
        return EntireSpace(tasks, graph)


def _check_probability(name: str, task: TaskSettings) -> None:
    if not isinstance(task, BinaryTaskConfig):
        raise ConfigError(
            "The architecture multiplies probabilities, and a task on the way has none.",
            where=f"tasks.{name}.type",
            found=task.model_dump()["type"],
            allowed="binary, for tasks with given and those that they name",
            fix="remove given from the task that is not binary (observed_when says in which rows its label counts)",
        )
    if not task.probabilities_are_true and (task.calibrate or task.positive_weight == 1.0):
        smooth = task.label_smoothing > 0.0
        key = "label_smoothing" if smooth else "loss"
        raise ConfigError(
            "The architecture multiplies probabilities, and a task on the way is trained towards others than the true "
            "ones.",
            where=f"tasks.{name}.{key}",
            found=task.label_smoothing if smooth else task.loss.name,
            allowed="0" if smooth else "bce",
            fix=f"remove {key}",
        )
    if not task.calibrate and task.positive_weight != 1.0:
        raise ConfigError(
            "The architecture multiplies probabilities, and a task on the way is not calibrated.",
            where=f"tasks.{name}.calibrate",
            found=f"false, with positive_weight: {task.positive_weight}",
            allowed="true, or no positive_weight",
            fix="remove calibrate: false",
        )
