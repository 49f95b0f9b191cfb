"""The optimizer of a run: AdamW, and beside it what the embedding tables learn by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol, Self

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.optim import Optimizer

from mtl_ray.optim.embeddings import AutoConfig, EmbeddingOptimizerConfig, RowwiseAdagradConfig
from mtl_ray.optim.embeddings.settings import EmbeddingOptimizerSettings
from mtl_ray.optim.mixed import MixedOptimizer
from mtl_ray.optim.sharded import ShardedOptimizer, sharded_tables
from mtl_ray.schema import Settings


class OptimizerConfig(Settings):
    """AdamW (Loshchilov and Hutter, ICLR 2019)."""

    name: Literal["adamw"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0.0, allow_inf_nan=False)
    embeddings: EmbeddingOptimizerConfig = AutoConfig()
    """What the embedding tables learn by; by default that depends on their size."""
    embedding_learning_rate: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """Of the embedding tables; where not given, `learning_rate` for those that go by Adam, and the default of the
    other optimizers."""
    weight_decay: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """Of weight matrices; biases and norms never decay."""
    embedding_weight_decay: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """Of the embedding tables. With dense gradients it shrinks every row in every step, those that no batch shows
    included; with sparse ones the rows that a step's global batch shows."""
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check_betas(self) -> Self:
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"betas must be at least 0 and below 1, found {list(self.betas)}")
        return self

    @model_validator(mode="after")
    def _check_decay(self) -> Self:
        if self.embedding_weight_decay and not self.embeddings.decays:
            raise ValueError(
                f"embedding_weight_decay is {self.embedding_weight_decay:g}, but embeddings "
                f"{self.embeddings.model_dump()['name']} takes none: leave it out, or choose dense or rowwise_adagrad"
            )
        return self


class TrainableModel(Protocol):
    """What the optimizer needs to know of a model."""

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def modules(self) -> Iterator[nn.Module]: ...

    def embedding_tables(self) -> list[nn.Embedding]: ...


def embedding_rows(model: TrainableModel) -> int:
    """Rows of all embedding tables, over all ranks."""
    return sum(table.num_embeddings for table in model.embedding_tables()) + sum(
        table.rows for table in sharded_tables(model)
    )


def _of_tables(
    config: OptimizerConfig, model: TrainableModel, chosen: EmbeddingOptimizerSettings, group: dict[str, Any]
) -> Optimizer | None:
    """What the tables learn by, where that is not the optimizer of all else."""
    sharded = sharded_tables(model)
    if sharded:
        return ShardedOptimizer(sharded, sharded_rate(config), sharded_adagrad(config).eps)
    return chosen.build(group, config.betas) if group["params"] else None


def sharded_adagrad(config: OptimizerConfig) -> RowwiseAdagradConfig:
    """What sharded tables learn by."""
    return config.embeddings if isinstance(config.embeddings, RowwiseAdagradConfig) else RowwiseAdagradConfig()


def sharded_rate(config: OptimizerConfig) -> float:
    """Learning rate of sharded tables."""
    return config.embedding_learning_rate or sharded_adagrad(config).usual_rate or config.learning_rate


def build_optimizer(
    config: OptimizerConfig,
    model: TrainableModel,
    weighting: Sequence[nn.Parameter] = (),
    weighting_learning_rate: float | None = None,
) -> Optimizer:
    """AdamW over all parameters of `model` that are not frozen, in the groups "matrices" (two or more dimensions,
    decayed), "vectors" (biases and norms) and "embeddings", and over those of a loss `weighting` in a group of that
    name, not decayed; empty groups are left out. Where `config.embeddings` chooses a sparse optimizer, it has the group
    "embeddings", and from then on the tables give sparse gradients.

    `weighting_learning_rate` None: `config.learning_rate`.
    """
    tables = model.embedding_tables()
    is_embedding = {id(table.weight) for table in tables}
    embeddings = [p for p in model.parameters() if id(p) in is_embedding]
    dense = [p for p in model.parameters() if id(p) not in is_embedding]
    rate = config.learning_rate

    def group(name: str, parameters: Sequence[nn.Parameter], lr: float, weight_decay: float = 0.0) -> dict[str, Any]:
        learning = [p for p in parameters if p.requires_grad]
        return {"name": name, "params": learning, "lr": lr, "weight_decay": weight_decay}

    groups = [
        group("matrices", [p for p in dense if p.ndim >= 2], rate, config.weight_decay),
        group("vectors", [p for p in dense if p.ndim < 2], rate),
        group("weighting", weighting, weighting_learning_rate or rate),
    ]
    chosen = config.embeddings.chosen(embedding_rows(model), config.embedding_weight_decay)
    table_rate = config.embedding_learning_rate or chosen.usual_rate or rate
    of_tables = group("embeddings", embeddings, table_rate, config.embedding_weight_decay)
    for table in tables:
        table.sparse = chosen.sparse
    # Fused: one pass over the memory of a table instead of one an operation.
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in model.parameters())

    def adamw(groups: list[dict[str, Any]]) -> Optimizer:
        return torch.optim.AdamW(groups, betas=config.betas, eps=config.eps, fused=fused)

    own = _of_tables(config, model, chosen, of_tables)
    if own is None:
        return adamw([group for group in (*groups[:2], of_tables, groups[2]) if group["params"]])
    learning = [group for group in groups if group["params"]]
    return MixedOptimizer([adamw(learning), own] if learning else [own])
