"""Where embedding tables lie, before there is a worker: what `training.placement=auto` chooses, and whether sharded
ones fit."""

from __future__ import annotations

from mtl_ray.checkpoint import ModelContext
from mtl_ray.config import Config
from mtl_ray.config.placement import refusals
from mtl_ray.errors import ConfigError
from mtl_ray.machine_memory import shown_bytes
from mtl_ray.models import MultiTaskModel
from mtl_ray.optim import sharded_adagrad, sharded_rate
from mtl_ray.optim.sharded import HOW_TO_INSTALL, is_installed, table_plans
from mtl_ray.training.outline import model_outline
from mtl_ray.training.table_memory import sharding_request, table_memory

AUTO = "training.placement=auto"


def with_placement(config: Config, context: ModelContext) -> tuple[Config, str | None]:
    """The config with a placement for `training.placement=auto`, and in words what was chosen and why; None where the
    config leaves nothing to choose.

    Sharded where a worker has no memory for all tables with what their optimizer keeps.

    Raises ConfigError where they do not fit and cannot be sharded, or nobody knows what a worker has.
    """
    training = config.training
    if training.placement != "auto":
        return config, None
    if training.workers.max == 1:
        return _placed(config, "replicated"), f"{AUTO}: replicated, for one worker holds everything"
    memory = table_memory(training)
    if memory is None:
        raise ConfigError(
            "This machine cannot tell how much memory the workers' GPUs have.",
            where=AUTO,
            fix="training.memory_per_worker, such as 40GB",
        )
    needed = _replicated_bytes(config, model_outline(config, context))
    sizes = f"the tables and what their optimizer keeps take {shown_bytes(needed)}, of {shown_bytes(memory)} a worker"
    if needed <= memory:
        return _placed(config, "replicated"), f"{AUTO}: replicated, for {sizes}"
    refused = refusals(training, config.model, config.aggregation, config.tasks)
    if refused:
        raise ConfigError(
            "The embedding tables do not fit on a worker, and sharded ones do not go with other settings.",
            where=", ".join([AUTO, *(refusal.key for refusal in refused)]),
            found=f"{sizes}; {'; '.join(f'{refusal.key}={refusal.found}' for refusal in refused)}",
            allowed="; ".join(f"{refusal.key}: {refusal.allowed}" for refusal in refused),
            fix="change these, or say training.placement=replicated or a larger training.memory_per_worker",
        )
    if not is_installed():
        raise ConfigError(
            "The embedding tables do not fit on a worker, and sharding them needs TorchRec, which is not installed.",
            where=AUTO,
            found=sizes,
            fix=f"{HOW_TO_INSTALL}; or training.placement=replicated, or a larger training.memory_per_worker",
        )
    return _placed(config, "sharded"), f"{AUTO}: sharded, for {sizes}"


def check_sharding(config: Config, context: ModelContext) -> None:
    """Raise ConfigError where the tables are to be sharded, and the fewest workers have no room for them."""
    training = config.training
    ranks = training.workers.min
    if training.placement != "sharded" or ranks == 1:
        return
    request = sharding_request(training, ranks, ranks, table_memory(training))
    table_plans(
        model_outline(config, context), sharded_adagrad(training.optimizer), sharded_rate(training.optimizer), request
    )


def _placed(config: Config, placement: str) -> Config:
    return config.model_copy(update={"training": config.training.model_copy(update={"placement": placement})})


def _replicated_bytes(config: Config, model: MultiTaskModel) -> int:
    """Of all tables on one worker, with the optimizer's state and a moving average."""
    training = config.training
    sizes = [(table.num_embeddings, table.embedding_dim) for table in model.embedding_tables()]
    optimizer = training.optimizer
    chosen = optimizer.embeddings.chosen(sum(rows for rows, _ in sizes), optimizer.embedding_weight_decay)
    copies = 1 if training.averaging is None else 2
    numbers = sum(copies * rows * dim + chosen.numbers_held(rows, dim) for rows, dim in sizes)
    return numbers * (8 if training.precision == "fp64" else 4)
