"""Whether sharded embedding tables fit on their workers, before there is one."""

from __future__ import annotations

from mtl_ray.checkpoint import ModelContext
from mtl_ray.config import Config
from mtl_ray.optim import sharded_adagrad, sharded_rate
from mtl_ray.optim.sharded import table_plans
from mtl_ray.training.outline import model_outline
from mtl_ray.training.table_memory import sharding_request, table_memory


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
