"""What does not go with sharded tables is refused, by name, before anything starts."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from mtl_ray.config import Config, parse_config
from mtl_ray.config.placement import Refusal, refusals
from mtl_ray.errors import ConfigError
from mtl_ray.optim.sharded import check_installed


def configured(**changes: Any) -> Config:
    tree: dict[str, Any] = {
        "name": "small",
        "features": {"repo": "feature_repo", "service": "s"},
        "training_set": {"spine": "spine", "split": {"by": "time", "validation": 0.1, "test": 0.1}},
        "tasks": {name: {"type": "binary"} for name in ("click", "cart")},
        "model": {"name": "mmoe"},
        "training": {"placement": "sharded"},
    }
    for path, value in changes.items():
        node = tree
        *parents, last = path.split("__")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return parse_config(tree)


def test_defaults_and_aggregation_at_the_representation_go_with_it() -> None:
    assert configured().training.placement == "sharded"
    assert configured(aggregation={"name": "pcgrad"}, training__precision="bf16").training.placement == "sharded"
    assert configured(training__optimizer={"embeddings": {"name": "rowwise_adagrad", "eps": 1e-6}})


@pytest.mark.parametrize(
    ("changes", "key", "found"),
    [
        ({"training__optimizer": {"embeddings": {"name": "dense"}}}, "training.optimizer.embeddings", "dense"),
        ({"training__optimizer": {"embeddings": {"name": "rowwise_adagrad", "initial": 0.1}}}, "embeddings", "0.1"),
        ({"training__optimizer": {"embeddings": {"name": "adagrad"}}}, "training.optimizer.embeddings", "adagrad"),
        ({"training__optimizer": {"embeddings": {"name": "sgd"}}}, "training.optimizer.embeddings", "sgd"),
        ({"training__optimizer": {"embeddings": {"name": "sparse_adam"}}}, "training.optimizer.embeddings", "sparse"),
        ({"training__optimizer": {"embedding_weight_decay": 0.2}}, "training.optimizer.embedding_weight_decay", "0.2"),
        ({"training__precision": "fp64"}, "training.precision", "fp64"),
        ({"training__accumulate": 2}, "training.accumulate", "2"),
        ({"training__averaging": {}}, "training.averaging", "a moving average"),
        ({"training__frozen": ["encoders"]}, "training.frozen", "encoders"),
        ({"training__affinity_every": 5}, "training.affinity_every", "5"),
        ({"training__compile": "auto"}, "training.compile", "auto"),
        ({"model__encoder": {"embedding_l2": 0.1}}, "model.encoder.embedding_l2", "0.1"),
        ({"aggregation": {"name": "pcgrad", "on": "shared"}}, "aggregation.on", "shared"),
        (
            {"tasks__next": {"type": "next_item", "label": "click", "user": ["user_id"], "item": ["item_id"]}},
            "tasks",
            "of type next_item: next",
        ),
    ],
)
def test_refused(changes: dict[str, Any], key: str, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(**changes)
    message = str(caught.value)
    assert f"{key}, with training.placement=sharded" in message
    assert found in message
    assert "set training.placement=replicated" in message
    replicated = {**changes, "training__placement": "replicated"}
    assert configured(**replicated).training.placement == "replicated"
    left_to_the_machine = configured(**{**changes, "training__placement": "auto"})
    assert key in {refusal.key for refusal in _refusals(left_to_the_machine)} | {"embeddings"}


def _refusals(config: Config) -> list[Refusal]:
    return refusals(config.training, config.model, config.aggregation, config.tasks)


def test_a_missing_torchrec_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    check_installed()
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "fbgemm_gpu" else found(name))
    with pytest.raises(ConfigError, match=r"TorchRec[\s\S]*requirements-torchrec\.txt"):
        check_installed()
