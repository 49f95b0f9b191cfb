"""Whether a training can be had on its workers: with sharded embedding tables, and with a number that changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from mtl_ray.aggregation import AggregationSettings, SumConfig
from mtl_ray.errors import ConfigError
from mtl_ray.models.settings import ModelSettings
from mtl_ray.optim.embeddings import AutoConfig, RowwiseAdagradConfig
from mtl_ray.tasks import NextItemTaskConfig, TaskSettings

if TYPE_CHECKING:
    from mtl_ray.config.tree import TrainingConfig


class Refusal(NamedTuple):
    """A setting that does not go with sharded tables."""

    key: str
    found: object
    allowed: str


def refusals(
    training: TrainingConfig, model: ModelSettings, aggregation: AggregationSettings, tasks: Mapping[str, TaskSettings]
) -> list[Refusal]:
    """Where rows that learn in the backward pass would not learn what the config asks for."""
    optimizer, embedding_l2 = training.optimizer, model.encoder.embedding_l2
    tables = optimizer.embeddings
    adagrad = isinstance(tables, AutoConfig) or (isinstance(tables, RowwiseAdagradConfig) and tables.initial == 0.0)
    decay, frozen = optimizer.embedding_weight_decay, training.frozen
    over_shared = not isinstance(aggregation, SumConfig) and aggregation.on == "shared"
    next_item = ", ".join(name for name, task in tasks.items() if isinstance(task, NextItemTaskConfig))
    compiled = str(training.compile).lower()
    return [
        Refusal(key, found, allowed)
        for key, found, refused, allowed in (
            (
                "training.optimizer.embeddings",
                tables.model_dump(),
                not adagrad,
                "auto, or rowwise_adagrad with initial 0",
            ),
            ("training.optimizer.embedding_weight_decay", decay, decay != 0.0, "0"),
            ("training.precision", training.precision, training.precision == "fp64", "fp32, bf16, auto"),
            ("training.accumulate", training.accumulate, training.accumulate > 1, "1"),
            ("training.averaging", "a moving average", training.averaging is not None, "null"),
            ("training.frozen", ", ".join(frozen), bool(frozen), "nothing"),
            ("training.affinity_every", training.affinity_every, training.affinity_every is not None, "null"),
            ("training.compile", compiled, training.compile is not False, "false"),
            ("model.encoder.embedding_l2", embedding_l2, embedding_l2 != 0.0, "0"),
            ("aggregation.on", "shared", over_shared, "representation"),
            ("tasks", f"of type next_item: {next_item}", bool(next_item), "all other types"),
        )
        if refused
    ]


def check_placement(
    training: TrainingConfig, model: ModelSettings, aggregation: AggregationSettings, tasks: Mapping[str, TaskSettings]
) -> None:
    """Raise `ConfigError` for the first of the `refusals` where the config asks for sharded tables."""
    if training.placement != "sharded":
        return
    for refusal in refusals(training, model, aggregation, tasks):
        raise ConfigError(
            "Rows of sharded embedding tables learn in the backward pass, by row-wise Adagrad and once a step, which "
            "does not go with this setting.",
            where=f"{refusal.key}, with training.placement=sharded",
            found=str(refusal.found),
            allowed=refusal.allowed,
            fix="change it, or set training.placement=replicated",
        )


def check_norm(training: TrainingConfig, model: ModelSettings) -> None:
    """Raise `ConfigError` where some number of workers would give a batch norm other rows than the batch has."""
    workers, rows = training.workers, training.global_batch_size
    uneven = [number for number in range(workers.min, workers.max + 1) if rows % number]
    if model.norm == "batch" and uneven:
        raise ConfigError(
            "Batch norm is over the rows of the global batch, and some numbers of workers would fill it up with "
            "padding rows.",
            where="model.norm=batch, with training.workers",
            found=f"{rows} rows for {uneven[0]} workers",
            fix="model.norm=layer, a fixed number of workers, or a global_batch_size that all of them divide",
        )
