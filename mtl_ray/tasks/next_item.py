"""Next item: which item does a user take? Two towers, and a softmax over the items of the batch.

A row with label 1 is a query, whose positive is its own item; a row with label 0 or NULL is no query, and its item no
candidate. With u the query's user vector, v_g the item vector of row g of the *global* batch's queries (all ranks),
both of length 1, t the temperature and c_g the number of those rows that show the same item as g,

    s_g = u . v_g / t - log c_g        (without correct_popularity: u . v_g / t)
    loss = log(exp(u . v / t) + sum over rows g with another item than the query's of exp(s_g)) - u . v / t

the in-batch softmax of Yi et al. (Sampling-bias-corrected neural modeling for large corpus item recommendations, RecSys
2019, equations 3 to 5), with rows that show the query's own item masked out as accidental hits. The correction is
Bengio and Senecal's (Adaptive importance sampling to accelerate training of a neural probabilistic language model, IEEE
Transactions on Neural Networks 2008): an item is drawn as a candidate as often as it is popular, and exp(s) / c counts
it once all the same. Where an item's features are its own, the loss thus is a cross-entropy over the *distinct* items,
each one candidate, and in a large batch the score goes towards log P(item | user). Without the correction, where no
item is a large part of the batch, it goes towards log P(item | user) - log P(item): what this user takes more than
others do.

Deviations: an item's share is its share of this batch's queries, not the streaming estimate of the paper's algorithm 2,
so that nothing has to be kept or restored; where items seldom meet twice in a batch it corrects little, so that the
global batch should be large beside the number of items that are often taken. The positive is not corrected, which would
only add a constant to the loss. Sample weights weigh queries, not candidates.

The loss depends on how many items a batch shows: that of another global batch size does not compare, in validation
neither. roc_auc and gauc do.

An item is told by the vocabulary id of the first feature of `item`: all items that the vocabulary does not know are
one, and so are rows without an id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mtl_ray import distributed
from mtl_ray.errors import ConfigError
from mtl_ray.metrics import Metric, ranking_metrics
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks.labels import zero_or_one
from mtl_ray.tasks.task import NO_INPUTS, Task, TaskSettings, at_least_float32

MOST_ITEMS = 1 << 24
"""Ids travel as float32 beside the vectors, which holds whole numbers below this exactly."""

Features = Annotated[tuple[str, ...], Field(min_length=1)]


class NextItemTaskConfig(TaskSettings):
    """Label 1 (or true) where the user took the row's item."""

    type: Literal["next_item"] = "next_item"
    user: Features
    """Features that the user vector is made of, none of which may say anything of the row's item. A history whose
    encoder (din, transformer, hstu) compares it with a feature that is not of `user`, as the candidate is not, is
    pooled instead, as model.encoder.list_pooling or its own entry of model.encoder.features says."""
    item: Features
    """Features that the item vector is made of; the first one is the item's id, a categorical feature."""
    dim: int = Field(default=32, ge=1)
    """Size of both vectors."""
    temperature: float = Field(default=0.1, gt=0.0, allow_inf_nan=False)
    """Divides the cosine of the two vectors: scores lie between -1 / temperature and 1 / temperature."""
    correct_popularity: bool = True
    """Count each item of the batch as one candidate, however many queries took it; false: once for each of them, which
    learns how much more than others a user takes an item."""

    def encode_labels(self, values: pa.ChunkedArray, column: str) -> np.ndarray:
        return zero_or_one(values, column, fix="write 1 where the user took the row's item, and 0 or NULL elsewhere")

    def build(self, name: str, statistics: LabelStatistics) -> NextItemTask:  # noqa: ARG002 - nothing starts at a rate
        return NextItemTask(name, self)


class NextItemTask(Task):
    """Logits `[B, 2 * dim + 1]`: user vector, item vector, both of length 1, and the item's id; predictions are scores
    u . v / temperature `[B]`, for ranking: no probabilities.

    The loss is of the global batch: in training and validation alike `loss` is a collective (and so is its backward),
    which all ranks must call with equal numbers of rows. It takes memory for `[queries of this rank, queries of
    all ranks]` scores.
    """

    config: NextItemTaskConfig

    def __init__(self, name: str, config: NextItemTaskConfig) -> None:
        super().__init__(name, config)
        self.num_outputs = 2 * config.dim + 1

    def loss(self, logits: Tensor, label: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:  # noqa: ARG002
        """0 in rows that are no query. Collective."""
        user_BD, item_BD, id_B1 = self._parts(logits)
        is_query_B = self.counted(label)
        row = torch.cat([item_BD, id_B1.detach(), is_query_B.to(item_BD.dtype).unsqueeze(1)], dim=1)
        every = distributed.differentiable_gather(row)
        candidates = every[every[:, -1] > 0.5]
        candidate_ND, candidate_id_N = candidates[:, :-2], candidates[:, -2].detach()
        queries_Q = is_query_B.nonzero().squeeze(1)
        user_QD, id_Q1 = user_BD[queries_Q], id_B1[queries_Q]
        own_Q1 = (user_QD * item_BD[queries_Q]).sum(dim=1, keepdim=True) / self.config.temperature
        score_QN = user_QD @ candidate_ND.T / self.config.temperature
        if self.config.correct_popularity:
            _, place_N, count = torch.unique(candidate_id_N, return_inverse=True, return_counts=True)
            score_QN = score_QN - count[place_N].to(score_QN.dtype).log()
        score_QN = score_QN.masked_fill(id_Q1 == candidate_id_N, -torch.inf)
        loss_Q = torch.cat([own_Q1, score_QN], dim=1).logsumexp(dim=1) - own_Q1.squeeze(1)
        return user_BD.new_zeros(len(logits)).index_put((queries_Q,), loss_Q)

    def counted(self, label: Tensor) -> Tensor:
        """The queries."""
        return label > 0.5

    def predict(self, logits: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:  # noqa: ARG002
        user_BD, item_BD, _ = self._parts(logits)
        return (user_BD * item_BD).sum(dim=1) / self.config.temperature

    def initial_bias(self) -> Tensor:
        """Zeros: no tower with a head stands behind these logits."""
        return torch.zeros(self.num_outputs)

    def metrics(self, grouped: bool) -> dict[str, Metric]:
        return ranking_metrics(grouped=grouped)

    def _parts(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dim = self.config.dim
        user_BD, item_BD, id_B1 = torch.split(at_least_float32(logits), [dim, dim, 1], dim=1)
        return user_BD, item_BD, id_B1


def check_next_item(name: str, task: NextItemTaskConfig, tasks: Mapping[str, TaskSettings]) -> None:
    """Raise `ConfigError` where the two sets of features overlap, or the task stands in the task graph."""
    for key, features in (("user", task.user), ("item", task.item)):
        twice = next((feature for feature in features if features.count(feature) > 1), None)
        if twice is not None:
            raise ConfigError(
                "A feature is named twice.",
                where=f"tasks.{name}.{key}",
                found=", ".join(features),
                allowed="each feature once",
                fix=f"write {twice} once",
            )
    both = [feature for feature in task.user if feature in task.item]
    if both:
        raise ConfigError(
            "A feature is both the user's and the item's, so the user vector would depend on the item.",
            where=f"tasks.{name}.user and tasks.{name}.item",
            found=", ".join(both),
            allowed="each feature in one of them",
            fix=f"remove {both[0]} from one of them",
        )
    for other, settings in tasks.items():
        if name in settings.given or (other == name and settings.given):
            raise ConfigError(
                "A next_item task stands beside the model's architecture, and has no place in its task graph.",
                where=f"tasks.{other}.given",
                found=", ".join(settings.given),
                allowed="no given of or with a next_item task",
                fix="remove it; observed_when says in which rows a label counts",
            )


def joined(user_BD: Tensor, item_BD: Tensor, id_B: Tensor) -> Tensor:
    """The logits `[B, 2 * dim + 1]` of two vectors, which are brought to length 1, and the item's id."""
    vectors = [F.normalize(at_least_float32(x_BD), dim=1) for x_BD in (user_BD, item_BD)]
    return torch.cat([*vectors, id_B.unsqueeze(1).to(vectors[0].dtype)], dim=1)
