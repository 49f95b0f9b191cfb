"""What training.placement=auto chooses, and what is said where tables fit nowhere."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from mtl_ray.config import Config, TrainingConfig, parse_config
from mtl_ray.errors import ConfigError
from mtl_ray.training.placement import check_sharding, with_placement
from mtl_ray.training.table_memory import _of_nodes, table_memory
from tests.unit.training.test_warm_start import config_of, context_of

CONTEXT = context_of(tuple(range(3, 1000)), ("b", "a"))
ROWS, DIM = 1004, 16
"""Of both vocabularies, with the missing and the unknown value of each."""


def auto(memory: str | int, **training: Any) -> Config:
    tree = config_of().model_dump(mode="json")
    tree["model"]["encoder"]["embedding_dim"] = DIM
    tree["training"] |= {"placement": "auto", "memory_per_worker": memory, "workers": 2, **training}
    return parse_config(tree)


@pytest.mark.parametrize(
    ("optimizer", "numbers"),
    [
        ({}, 4 * DIM),  # AdamW: two moments and a gradient of every row
        ({"embeddings": {"name": "auto", "sparse_from": 0}}, DIM + 1),
        ({"embeddings": {"name": "rowwise_adagrad"}}, DIM + 1),
    ],
    ids=["dense", "sparse", "row-wise Adagrad"],
)
def test_sharded_from_where_a_worker_cannot_hold_the_tables(optimizer: dict[str, Any], numbers: int) -> None:
    needed = 4 * ROWS * numbers
    config, words = with_placement(auto(needed, optimizer=optimizer), CONTEXT)
    assert config.training.placement == "replicated"
    assert words is not None
    assert words.startswith("training.placement=auto: replicated, for the tables and what their optimizer keeps take ")
    config, words = with_placement(auto(needed - 1, optimizer=optimizer), CONTEXT)
    assert config.training.placement == "sharded"
    assert words is not None
    assert "auto: sharded, for the tables" in words
    assert with_placement(config, CONTEXT) == (config, None)


def test_one_worker_holds_everything() -> None:
    config, words = with_placement(auto(1, workers=1), CONTEXT)
    assert config.training.placement == "replicated"
    assert words == "training.placement=auto: replicated, for one worker holds everything"


def test_what_sharded_tables_do_not_go_with_keeps_them_whole_or_is_said() -> None:
    with_them: dict[str, Any] = {"averaging": {}, "optimizer": {"embeddings": {"name": "sparse_adam"}}}
    config, _ = with_placement(auto("1GB", **with_them), CONTEXT)
    assert config.training.placement == "replicated"
    with pytest.raises(ConfigError, match="do not go with other settings") as caught:
        with_placement(auto("10kB", **with_them), CONTEXT)
    for word in ("training.averaging", "training.optimizer.embeddings", "10 kB", "training.memory_per_worker"):
        assert word in str(caught.value)


def test_without_torchrec_tables_that_fit_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torchrec" else found(name))
    assert with_placement(auto("1GB"), CONTEXT)[0].training.placement == "replicated"
    with pytest.raises(ConfigError, match=r"TorchRec, which is not installed[\s\S]*requirements-torchrec\.txt"):
        with_placement(auto("10kB"), CONTEXT)


def test_gpus_of_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = auto("1GB", use_gpu=True)
    assert with_placement(config, CONTEXT)[0].training.placement == "replicated"
    training = config.training.model_copy(update={"memory_per_worker": None})
    with pytest.raises(ConfigError, match=r"GPUs[\s\S]*training\.memory_per_worker"):
        with_placement(config.model_copy(update={"training": training}), CONTEXT)


@pytest.mark.parametrize("sharding", ["row_wise", "table_wise", "auto"])
def test_shares_that_do_not_fit_are_refused_before_a_worker_starts(sharding: str) -> None:
    pytest.importorskip("torchrec")
    check_sharding(auto("1MB", placement="sharded", sharding=sharding), CONTEXT)
    with pytest.raises(ConfigError, match="do not fit on the workers") as caught:
        check_sharding(auto("10kB", placement="sharded", sharding=sharding), CONTEXT)
    assert f"training.sharding={sharding}" in str(caught.value)
    assert "for 2 workers; 0.01 MB on each" in str(caught.value)


def test_a_share_of_a_machine() -> None:
    training = TrainingConfig.model_validate({"workers": 4, "cpus_per_worker": 2})
    assert _of_nodes([(8.0, 80.0), (4.0, 60.0), (1.0, 1.0)], training) == 80 // 2 // 4
    assert _of_nodes([(1.0, 1.0)], training) is None
    alone, shared = (table_memory(TrainingConfig.model_validate({"workers": number})) for number in (1, 4))
    assert alone is not None
    assert shared is not None
    assert abs(alone - 4 * shared) < 4
    assert table_memory(TrainingConfig.model_validate({"memory_per_worker": "16GB"})) == 16 * 10**9
