"""The two towers of a `next_item` task: a user vector and an item vector from features of their own.

They stand beside the architecture, which knows nothing of the task: their part in the multi-task model is its embedding
table, that of the first encoder which the tasks share. What a retrieval task says of users and items, the others read
there, and the other way round. An architecture without a shared encoder (`single_task`) shares nothing here either:
the task has a table of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.errors import ConfigError
from mtl_ray.models.encoders import FeatureEncoderConfig
from mtl_ray.models.encoders.features import embedding_table, first_rows
from mtl_ray.models.encoders.names import feature_names, unknown
from mtl_ray.models.encoding import NarrowEncoder, narrow_schema
from mtl_ray.models.mlp import MLP
from mtl_ray.schema import BatchSchema
from mtl_ray.tasks import NextItemTaskConfig
from mtl_ray.tasks.next_item import MOST_ITEMS, joined


class VectorTower(nn.Module):
    """One side's features to its vector `[B, dim]`, of any length: encoder (no interaction), MLP, linear layer."""

    def __init__(self, encoder: NarrowEncoder, mlp: MLP, dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.mlp = mlp
        # With torch's random bias: a row that shows nothing still has a direction.
        self.head = nn.Linear(mlp.out_size, dim)

    def forward(self, batch: Batch, table: nn.Embedding) -> Tensor:
        vector: Tensor = self.head(self.mlp(self.encoder(batch, table)))
        return vector


class TwoTowers(nn.Module):
    """`Batch` to the task's logits `[B, 2 * dim + 1]`.

    The lists of the user's features are encoded without the candidate (see `NarrowEncoder`), by modules of their own.
    """

    def __init__(self, user: VectorTower, item: VectorTower, id_column: int, table: nn.Embedding | None) -> None:
        """`id_column`: of the item's id in `Batch.categorical`. `table`: the task's own; None where it borrows one."""
        super().__init__()
        self.user = user
        self.item = item
        self.embedding = table
        self._id_column = id_column

    def forward(self, batch: Batch, shared: nn.Embedding | None) -> Tensor:
        """`shared`: the table to borrow; not looked at where the task has its own."""
        table = shared if self.embedding is None else self.embedding
        assert table is not None
        return joined(self.user(batch, table), self.item(batch, table), batch.categorical[:, self._id_column])

    def squared_norms(self, batch: Batch) -> Tensor | None:
        """As `FeatureEncoder.squared_norms`, of both sides; None where they are another encoder's to count."""
        if self.embedding is None:
            return None
        sides = (self.user.encoder, self.item.encoder)
        return torch.stack([side.squared_norms(batch, self.embedding) for side in sides]).sum(dim=0)


def build_two_towers(
    task: NextItemTaskConfig,
    encoder: FeatureEncoderConfig,
    schema: BatchSchema,
    mlp: Callable[[int], MLP],
    shared: bool,
) -> TwoTowers:
    """The module of one task.

    Args:
        mlp: a tower's hidden layers, on inputs of so many numbers.
        shared: there is a table with all vocabularies of the schema to borrow.
    """
    known = schema if shared else narrow_schema(schema, (*task.user, *task.item))
    rows = first_rows(known)
    user, item = (
        VectorTower(side, mlp(side.out_size), task.dim)
        for side in (NarrowEncoder(encoder, schema, names, rows) for names in (task.user, task.item))
    )
    table = None if shared else embedding_table(known, encoder.embedding_dim, encoder.embedding_std)
    id_column = [feature.name for feature in schema.categorical].index(task.item[0])
    return TwoTowers(user, item, id_column, table)


def check_two_towers(name: str, task: NextItemTaskConfig, schema: BatchSchema) -> None:
    """Raise `ConfigError` where the task `name` asks of the training set's features what they are not."""
    for key, features in (("user", task.user), ("item", task.item)):
        for feature in features:
            if feature not in feature_names(schema):
                what = "A task names a feature that the training set does not have."
                raise unknown(what, feature, feature_names(schema), f"tasks.{name}.{key}")
    _check_id(name, task, schema)


def _check_id(name: str, task: NextItemTaskConfig, schema: BatchSchema) -> None:
    vocabulary = {feature.name: feature.vocabulary for feature in schema.categorical}
    where, first = f"tasks.{name}.item", task.item[0]
    if first not in vocabulary:
        fitting = [feature for feature in task.item if feature in vocabulary]
        raise ConfigError(
            "The first of an item's features says which item it is, and this one is no categorical feature.",
            where=where,
            found=first,
            allowed=", ".join(fitting or vocabulary) or "a categorical feature",
            fix=f"write {fitting[0]} first" if fitting else "put the item's id first",
        )
    items = schema.vocabularies[vocabulary[first]]
    if items > MOST_ITEMS:
        raise ConfigError(
            "There are too many items to tell them apart in the batch.",
            where=where,
            found=f"{first} has {items:,} ids",
            allowed=f"{MOST_ITEMS:,} at most",
            fix="a smaller training_set.preprocessing.max_vocabulary",
        )
