"""Every encoder and interaction of the unions, in several variants, on `RICH_SCHEMA`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from mtl_ray.batch import Batch
from mtl_ray.models.encoders import FeatureEncoder, FeatureEncoderConfig
from mtl_ray.models.encoders.interactions import InteractionConfig
from mtl_ray.models.encoders.numeric import NumericConfig
from mtl_ray.models.encoders.sequences import (
    History,
    HistorySize,
    PoolingConfig,
    SequenceConfig,
    SequenceSettings,
    TargetSettings,
)
from mtl_ray.schema import Settings
from tests.random_batch import RICH_SCHEMA

DIM = 4
TARGET = {"watched": "item_id", "actions": None}
"""Of the history: two features share the vocabulary of watched, none has that of actions."""


def members(union: Any) -> dict[str, type[Settings]]:
    """Members of a config union by name."""
    return {str(leaf.model_fields["name"].default): leaf for leaf in get_args(get_args(union)[0])}


NUMERIC, POOLING, SEQUENCES, INTERACTIONS = map(
    members, (NumericConfig, PoolingConfig, SequenceConfig, InteractionConfig)
)
EXTRA: Mapping[str, list[dict[str, Any]]] = {
    "bucketised": [{"buckets": 3}],
    "piecewise_linear": [{"bins": 1}],
    "din": [{"softmax": True, "hidden": [6, 5], "activation": "silu"}],
    "gru": [{"hidden": 3, "layers": 2}],
    "lstm": [{"hidden": 3, "layers": 2}],
    "transformer": [{"heads": 1, "layers": 2, "hidden": 5}],
    "hstu": [{"heads": 2, "layers": 2}],
    "dcn_v2": [{"rank": 3, "layers": 3}],
    "final_mlp": [
        {"first": [8, 6], "second": [4], "heads": 2, "first_context": ["user_id", "tabs"], "second_context": []}
    ],
}
"""Variants beside the defaults, of members that have ways of their own."""


def variants(union: Mapping[str, type[Settings]]) -> dict[str, dict[str, Any]]:
    """Each member's defaults and variants as the config has them."""
    return {
        f"{name}{index or ''}": {"name": name, **extra}
        for name in union
        for index, extra in enumerate([{}, *EXTRA.get(name, [])])
    }


def with_target(leaf: Mapping[str, Any]) -> dict[str, Any]:
    return {**leaf, "target": TARGET} if issubclass(SEQUENCES[leaf["name"]], TargetSettings) else dict(leaf)


ENCODERS: dict[str, dict[str, Any]] = {
    **{f"numeric-{name}": {"numeric": leaf} for name, leaf in variants(NUMERIC).items()},
    **{f"list-{name}": {"list_pooling": leaf} for name, leaf in variants(POOLING).items()},
    **{f"history-{name}": {"sequences": {"history": with_target(leaf)}} for name, leaf in variants(SEQUENCES).items()},
    **{f"sequence-{name}": {"sequences": {"tabs": leaf}} for name, leaf in variants(SEQUENCES).items()},
    **{f"interaction-{name}": {"interaction": leaf} for name, leaf in variants(INTERACTIONS).items()},
    "vector-raw": {"vectors": {"projection": False}},
    "vector-norm": {"vectors": {"layer_norm": True}},
    "single-features": {
        "features": {
            "price": {"name": "bucketised", "buckets": 4},
            "age": "plr",
            "tabs": "attention",
            "text": "vector",
        },
        "sequences": {"history": {"name": "din", "target": TARGET}},
        "interaction": "fm",
    },
}
every_encoder = pytest.mark.parametrize("name", ENCODERS)
SEQUENCE_LEAVES = variants(SEQUENCES)
every_sequence = pytest.mark.parametrize("leaf", SEQUENCE_LEAVES.values(), ids=SEQUENCE_LEAVES)
with_and_without_ages = pytest.mark.parametrize("ages", [True, False], ids=["ages", "no-ages"])


def config_of(name: str) -> FeatureEncoderConfig:
    return FeatureEncoderConfig.model_validate({"embedding_dim": DIM, **ENCODERS[name]})


def build(name: str, seed: int = 0) -> FeatureEncoder:
    torch.manual_seed(seed)
    return config_of(name).build(RICH_SCHEMA)


def build_sequence(leaf: Mapping[str, Any], size: HistorySize, randomise: bool = True) -> torch.nn.Module:
    """A float64 encoder of histories, with no parameter at a special value if `randomise`."""
    config = SEQUENCES[leaf["name"]].model_validate(leaf)
    assert isinstance(config, SequenceSettings)
    torch.manual_seed(0)
    encoder = config.build(size).double().eval()
    if randomise:
        random = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=random, dtype=torch.float64) / 3)
    return encoder


def random_history(rows: int, length: int, width: int, ages: bool, seed: int = 0) -> History:
    """Float64; histories with holes, full ones and, in row 0, an empty one. What is absent holds arbitrary numbers."""
    random = torch.Generator().manual_seed(seed)
    present = torch.rand(rows, length, generator=random) < 0.7
    present &= torch.arange(length) >= torch.randint(0, length, (rows, 1), generator=random)
    present[0], present[1] = False, True
    seconds = torch.exp(16 * torch.rand(rows, length, generator=random, dtype=torch.float64))
    return History(
        entries=torch.randn(rows, length, width, generator=random, dtype=torch.float64),
        present=present,
        ages=seconds.sort(descending=True).values if ages else None,
        target=torch.randn(rows, width, generator=random, dtype=torch.float64),
    )


def tensors_of(batch: Batch) -> dict[str, Any]:
    """What encoders read of a batch."""
    return {
        "categorical": batch.categorical,
        "numeric": batch.numeric,
        "lists": dict(batch.lists),
        "ages": dict(batch.ages),
        "vectors": dict(batch.vectors),
    }


def factors(x: Tensor) -> Tensor:
    """A weight of its own for each number of `x`."""
    random = torch.Generator().manual_seed(11)
    return torch.randn(x.shape, generator=random, dtype=torch.float64).to(x.dtype)


def gradients(module: torch.nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Of a weighted sum of `x`."""
    module.zero_grad()
    (x * factors(x)).sum().backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
