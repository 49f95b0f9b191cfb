"""A training that begins with the weights of an earlier run: newer rows, more tasks, vocabularies that have grown.

What was learnt of a value follows the value, whatever its id and row are now. A value that the earlier run did not know
begins with what stood for unknown ones, so that before the first step the model predicts what the earlier one did.
Optimizer, schedule and loss weights begin anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mtl_ray.checkpoint import Checkpoint, ModelContext, load_checkpoint
from mtl_ray.config import Config
from mtl_ray.embedding_table import EmbeddingTable
from mtl_ray.errors import ConfigError
from mtl_ray.run_folder import RunFolder
from mtl_ray.schema import BatchSchema
from mtl_ray.storage import is_remote
from mtl_ray.training.outline import model_outline

WHERE = "training.start_from"


@dataclass(frozen=True)
class FirstWeights:
    """What a model begins with."""

    weights: dict[str, Tensor]
    """By name in the model's state; tables whole."""
    anew: tuple[str, ...]
    """What the earlier model has not: drawn as always."""
    left: tuple[str, ...]
    """Of the earlier model, what this one has not."""
    new_values: int
    """Of all vocabularies, those that the earlier run did not know."""
    scaled_anew: bool
    """Whether numbers are encoded by other statistics than in the earlier run."""

    def in_words(self) -> str:
        """For whoever starts the training."""
        words = f"{len(self.weights)} tensors, {self.new_values:,} new values as the unknown ones"
        for what, names in (("drawn anew", self.anew), ("left out", self.left)):
            if names:
                words += f"; {what}: {', '.join(names[:4])}" + (" and more" if len(names) > 4 else "")
        if self.scaled_anew:
            words += "; numbers are scaled by the statistics of these rows (those of appended rows stay)"
        return words


def earlier_checkpoint(config: Config) -> str | None:
    """Where every process can read the best checkpoint of the run to begin with, absolute; None: there is none to.

    Raises CheckpointError where there is no such run, or it has not ended.
    """
    if config.training.start_from is None:
        return None
    named = config.training.start_from
    run = RunFolder.open(named if is_remote(named) else Path(named).resolve())
    return run.checkpoint_place(str(run.summary()["checkpoints"]["best"]))


def first_weights(config: Config, context: ModelContext, place: str) -> FirstWeights:
    """From the checkpoint at `place`, for the model of `config` on the training set of `context`.

    Raises CheckpointError as `load_checkpoint` does, and ConfigError where features, tasks or sizes differ.
    """
    earlier = load_checkpoint(place)
    _check_features(context.batch_schema, earlier)
    _check_tasks(tuple(config.tasks), earlier)
    shapes, tables = _described(config, context)
    _, tables_before = _described(earlier.config, earlier.context)
    weights: dict[str, Tensor] = {}
    vocabularies = _Vocabularies(context, earlier.context)
    for name, shape in shapes.items():
        weight = earlier.weights.get(name)
        if weight is None:
            continue
        of_table = name in tables and name in tables_before
        if weight.shape[of_table:] != shape[of_table:]:
            raise ConfigError(
                "The earlier run's model has another size.",
                where=f"{WHERE}, {name}",
                found=f"{list(weight.shape)} in {earlier.path}",
                allowed=str(list(shape)),
                fix="the architecture of the earlier run (its config.yaml), or a training of its own",
            )
        if of_table:
            weight = vocabularies.rows(weight, tables_before[name], tables[name], config.seed)
        weights[name] = weight
    return FirstWeights(
        weights=weights,
        anew=tuple(name for name in shapes if name not in weights),
        left=tuple(name for name in earlier.weights if name not in weights),
        new_values=vocabularies.new_values,
        scaled_anew=context.preprocessing.numeric != earlier.context.preprocessing.numeric,
    )


def _described(config: Config, context: ModelContext) -> tuple[dict[str, torch.Size], dict[str, EmbeddingTable]]:
    """Shapes of a model's state by name, and its tables, without their rows."""
    model = model_outline(config, context)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    modules = model.named_modules()
    return shapes, {f"{name}.weight": module for name, module in modules if isinstance(module, EmbeddingTable)}


class _Vocabularies:
    """Which row of the earlier tables each row of the new ones takes."""

    def __init__(self, context: ModelContext, earlier: ModelContext) -> None:
        self._now, self._then = context.preprocessing.vocabularies, earlier.preprocessing.vocabularies
        self._ids: dict[str, Tensor] = {}
        self.new_values = 0

    def rows(self, weight: Tensor, then: EmbeddingTable, now: EmbeddingTable, seed: int) -> Tensor:
        """The new table `[rows, D]` from the earlier one's `weight`; vocabularies that are new are drawn."""
        random = torch.Generator().manual_seed(seed)
        rows = torch.empty(now.num_embeddings, now.embedding_dim, dtype=weight.dtype).normal_(
            std=now.std, generator=random
        )
        for name, start in now.first_rows.items():
            if name in then.first_rows:
                ids = self._earlier_ids(name)
                rows[start : start + len(ids)] = weight[then.first_rows[name] + ids]
        return rows

    def _earlier_ids(self, name: str) -> Tensor:
        """For each id of the vocabulary now, the id that it had then."""
        if name not in self._ids:
            now, then = self._now[name], self._then[name]
            ids = now.ids_by(then, name)
            self.new_values += int(then.unknown(ids[now.first_known :]).sum())
            self._ids[name] = torch.from_numpy(ids).long()
        return self._ids[name]


def _check_features(schema: BatchSchema, earlier: Checkpoint) -> None:
    """Raise ConfigError unless the models read the same columns in the same order."""
    before = earlier.context.batch_schema
    for kind in ("categorical", "numeric", "lists", "ages", "vectors"):
        then, now = getattr(before, kind), getattr(schema, kind)
        if then != now:
            raise ConfigError(
                "The earlier run has read other features.",
                where=f"{WHERE}, {kind} features",
                found=_names(then),
                allowed=_names(now),
                fix="the earlier run's feature service and keys, or a training of its own",
            )


def _check_tasks(tasks: tuple[str, ...], earlier: Checkpoint) -> None:
    """Raise ConfigError where a task has moved: parameters of gates and experts are told apart by its position."""
    before = tuple(earlier.config.tasks)
    moved = [task for task in tasks if task in before and tasks.index(task) != before.index(task)]
    if moved:
        raise ConfigError(
            "Tasks stand at other places than in the earlier run.",
            where=f"{WHERE}, tasks",
            found=", ".join(tasks),
            allowed=f"{', '.join(before)}, and new ones behind them",
            fix=f"move {', '.join(moved)}",
        )


def _names(features: Sequence[object]) -> str:
    return ", ".join(str(getattr(feature, "name", feature)) for feature in features) or "none"
