"""Config fields of every model."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from mtl_ray.errors import ConfigError
from mtl_ray.models.encoders import FeatureEncoderConfig
from mtl_ray.models.encoding import EncodingSet, build_encoder
from mtl_ray.models.experts import Experts
from mtl_ray.models.initialisation import DEFAULT_INIT, Init, initialise_hidden
from mtl_ray.models.mlp import MLP, Activation
from mtl_ray.models.model import MultiTaskModel
from mtl_ray.models.next_item import build_two_towers, check_two_towers
from mtl_ray.models.norm import Norm
from mtl_ray.models.outputs import Outputs
from mtl_ray.models.tower import Tower
from mtl_ray.schema import BatchSchema, Settings
from mtl_ray.tasks import NextItemTask, Task, TaskSettings
from mtl_ray.tasks.graph import TaskGraph

if TYPE_CHECKING:
    from mtl_ray.models.sharing.sharing import Sharing

logger = logging.getLogger(__name__)

HiddenSizes = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
"""Sizes of an MLP's layers, at least one."""

Levels = Annotated[tuple[HiddenSizes, ...], Field(min_length=1)]
"""Hidden sizes of the experts of each level, from the encoder up."""


class ModelSettings(Settings, ABC):
    """`model` of the config; `name` and the sizes of the shared part are added by each architecture."""

    shares: ClassVar[bool] = True
    """Whether the architecture's tasks share anything."""
    task_graph: ClassVar[Literal["ignored", "used", "required"]] = "ignored"
    """What the tasks' `given` means to the architecture."""

    encoder: FeatureEncoderConfig = FeatureEncoderConfig()
    tower: tuple[PositiveInt, ...] = (64,)
    """Hidden sizes of each task's own MLP; none: the head reads the shared part directly."""
    activation: Activation = "relu"
    init: Init = DEFAULT_INIT
    """How the weights of the hidden layers of towers, experts and bottoms start. Heads start near the training part's
    mean, gates even, and embeddings by encoder.embedding_std."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of hidden units dropped after every hidden layer while training."""
    norm: Norm = "none"
    """Before every activation: layer norm, or batch norm over the global batch, the same whatever the number of
    workers."""

    @abstractmethod
    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> Sharing:
        """The part between encoders, `[B, in_sizes[i]]` from the i-th of `encoding_sets`, and towers."""

    def build_outputs(self, sharing: Sharing, tasks: Mapping[str, Task], graph: TaskGraph) -> Outputs:  # noqa: ARG002
        """What comes after the towers; `tasks` in task order."""
        return Outputs(tasks)

    def encoding_sets(self, schema: BatchSchema) -> tuple[EncodingSet, ...]:  # noqa: ARG002
        """The encoders that the architecture reads."""
        return (EncodingSet(),)

    def check_tasks(self, tasks: Mapping[str, TaskSettings]) -> None:
        """Raise `ConfigError` where the architecture cannot be built for these tasks, `next_item` ones left out; warn
        where it ignores `given`."""
        if not tasks:
            raise ConfigError(
                f"The architecture {self._name} has no task: next_item tasks have towers of their own beside it.",
                where="tasks",
                found="next_item tasks alone",
                allowed="another task beside them, or model.name=single_task",
                fix="add a task of another type, or choose model.name=single_task",
            )
        given = [name for name, task in tasks.items() if task.given]
        if given and self.task_graph == "ignored":
            logger.warning(
                "model.name=%s does not follow the task graph: given of %s has no effect", self._name, ", ".join(given)
            )
        if not given and self.task_graph == "required":
            raise ConfigError(
                f"The architecture {self._name} follows the task graph, but no task is given another.",
                where="model.name",
                found=self._name,
                allowed="tasks of which one at least says given",
                fix="say which task needs which, for example tasks.purchase.given=click, or choose another model.name",
            )

    def check_features(self, schema: BatchSchema) -> None:
        """Raise `ConfigError` where the config names features that the training set does not have, or asks of them what
        they are not."""
        self.encoder.check(schema)

    def build(self, schema: BatchSchema, tasks: Mapping[str, Task]) -> MultiTaskModel:
        """The model on the CPU in float32; the same torch seed gives the same weights bit for bit.

        `tasks` are those of `schema.tasks`, in whatever order; columns and towers follow the schema's. The architecture
        is built for those that are no `next_item` tasks.
        """
        if set(tasks) != set(schema.tasks):
            raise ValueError(f"tasks {sorted(tasks)} are not those of the schema: {sorted(schema.tasks)}")
        self.check_features(schema)
        beside = {name: task for name in schema.tasks if isinstance(task := tasks[name], NextItemTask)}
        for name, task in beside.items():
            check_two_towers(name, task.config, schema)
        tasks = {name: tasks[name] for name in schema.tasks if name not in beside}
        if self.task_graph != "ignored" or not tasks:
            self.check_tasks({name: task.config for name, task in tasks.items()})
        graph = TaskGraph(tuple(tasks), {name: task.config.given for name, task in tasks.items()})
        sets = self.encoding_sets(schema.model_copy(update={"tasks": tuple(tasks)}))
        encoders = [build_encoder(self.encoder, schema, wanted) for wanted in sets]
        sharing = self.build_sharing([encoder.out_size for encoder in encoders], graph)
        outputs = self.build_outputs(sharing, tasks, graph)
        towers = {
            name: self._tower(size, outputs.initial_bias(name))
            for name, size in zip(tasks, sharing.out_sizes, strict=True)
        }
        shared = any(wanted.task is None for wanted in sets)
        two_towers = {
            name: build_two_towers(task.config, self.encoder, schema, partial(self._mlp, hidden=self.tower), shared)
            for name, task in beside.items()
        }
        model = MultiTaskModel(
            encoders, sets, sharing, towers, outputs, self.encoder.embedding_l2, two_towers, schema.tasks
        )
        if self.init != DEFAULT_INIT:
            initialise_hidden(model, self.init)
        return model

    @property
    def _name(self) -> str:
        name: Any = type(self).model_fields["name"].default
        return str(name)

    def _tower(self, in_size: int, bias: Any) -> Tower:
        return Tower(in_size, self.tower, bias, self.activation, self.dropout, self.norm)

    def _mlp(self, in_size: int, hidden: Sequence[int]) -> MLP:
        return MLP(in_size, hidden, self.activation, self.dropout, self.norm)

    def _experts(self, num_experts: int, in_size: int, hidden: Sequence[int]) -> Experts:
        return Experts(num_experts, in_size, hidden, self.activation, self.dropout, self.norm)
