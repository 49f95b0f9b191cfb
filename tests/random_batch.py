"""A small schema with every kind of feature and task, and random batches of it."""

from __future__ import annotations

from dataclasses import replace

import torch

from mtl_ray.batch import Batch
from mtl_ray.schema import AgeFeature, BatchSchema, CategoricalFeature, LabelStatistics, ListFeature, VectorFeature
from mtl_ray.tasks import BinaryTaskConfig, MulticlassTaskConfig, RegressionTaskConfig, Task

SCHEMA = BatchSchema(
    vocabularies={"user_id": 11, "item_id": 7, "tab": 4},
    categorical=(
        CategoricalFeature(name="user_id", vocabulary="user_id"),
        CategoricalFeature(name="item_id", vocabulary="item_id"),
        CategoricalFeature(name="last_item", vocabulary="item_id"),
        CategoricalFeature(name="tab", vocabulary="tab"),
    ),
    numeric=("price", "age", "price_missing"),
    lists=(
        ListFeature(name="watched", vocabulary="item_id", max_length=5),
        ListFeature(name="tabs", vocabulary="tab", max_length=3),
    ),
    tasks=("click", "rating", "value"),
)

RICH_SCHEMA = SCHEMA.model_copy(
    update={
        "vocabularies": {**SCHEMA.vocabularies, "action": 5},
        "numeric_quantiles": (
            tuple(-1.0 + step / 8 for step in range(17)),
            (-1.0,) * 9 + tuple(-0.5 + step / 8 for step in range(8)),
            (0.25,) * 17,
        ),
        "lists": (
            ListFeature(name="watched", vocabulary="item_id", max_length=5, sequence="history"),
            ListFeature(name="tabs", vocabulary="tab", max_length=3),
            ListFeature(name="actions", vocabulary="action", max_length=5, sequence="history"),
        ),
        "ages": (AgeFeature(name="watched_at", sequence="history", max_length=5),),
        "vectors": (VectorFeature(name="text", size=6),),
    }
)
"""`SCHEMA` with quantiles, a history of two lists and the ages of its entries, and a vector. Two features share the
vocabulary of watched, one that of tabs, none that of actions."""


def make_tasks() -> dict[str, Task]:
    """The tasks of `SCHEMA`, one of each type, with made-up label statistics."""
    click = LabelStatistics(observed=1000, mean=0.2)
    rating = LabelStatistics(observed=60, class_counts=(10, 20, 30))
    value = LabelStatistics(observed=50, mean=20.0, transformed_mean=2.5, transformed_std=0.8)
    return {
        "click": BinaryTaskConfig().build("click", click),
        "rating": MulticlassTaskConfig(classes=(1, 2, 3)).build("rating", rating),
        "value": RegressionTaskConfig(transform="log1p").build("value", value),
    }


def random_batch(rows: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Batch:
    """`rows` rows of `SCHEMA`; about 60 % of the labels observed, sample weights between 0.5 and 1.5."""
    random = torch.Generator().manual_seed(seed)

    def ids(size: int, *shape: int) -> torch.Tensor:
        return torch.randint(0, size, shape, generator=random).int()

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=random, dtype=torch.float64)

    columns = [ids(SCHEMA.vocabularies[feature.vocabulary], rows, 1) for feature in SCHEMA.categorical]
    lists = {}
    for feature in SCHEMA.lists:
        padding = ids(feature.max_length + 1, rows, 1)
        values = ids(SCHEMA.vocabularies[feature.vocabulary], rows, feature.max_length)
        lists[feature.name] = torch.where(torch.arange(feature.max_length) >= padding, values, 0)
    observed = uniform(rows, 3) < 0.6
    labels = torch.stack([(uniform(rows) < 0.3).double(), ids(3, rows).double(), torch.expm1(3 * uniform(rows))], dim=1)
    return Batch(
        categorical=torch.cat(columns, dim=1),
        numeric=(2 * uniform(rows, 3) - 1).to(dtype),
        labels=torch.where(observed, labels, 0.0).to(dtype),
        observed=observed,
        sample_weight=(0.5 + uniform(rows)).to(dtype),
        row_id=torch.arange(rows),
        lists=lists,
    )


def rich_batch(rows: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Batch:
    """`rows` rows of `RICH_SCHEMA`: `random_batch` and what it lacks. An entry of the history may miss either id."""
    batch = random_batch(rows, seed, dtype)
    random = torch.Generator().manual_seed(seed + 500)
    actions = torch.randint(0, RICH_SCHEMA.vocabularies["action"], (rows, 5), generator=random).int()
    lists = {**batch.lists, "actions": torch.where(batch.lists["watched"].cumsum(dim=1) > 0, actions, 0)}
    seconds = torch.exp(16 * torch.rand(rows, 5, generator=random, dtype=torch.float64)).sort(descending=True).values
    present = (lists["watched"] != 0) | (lists["actions"] != 0)
    return replace(
        batch,
        lists={feature.name: lists[feature.name] for feature in RICH_SCHEMA.lists},
        ages={"watched_at": torch.where(present, seconds, 0.0).to(dtype)},
        vectors={"text": torch.randn(rows, 6, generator=random, dtype=torch.float64).to(dtype)},
    )


def part_of(batch: Batch, rows: slice) -> Batch:
    """Those rows of `batch`."""
    return batch.taken(rows)
