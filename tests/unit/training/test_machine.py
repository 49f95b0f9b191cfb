"""training.workers=auto: how many workers a machine or cluster gives, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from mtl_ray.cluster import Machine
from mtl_ray.config import Config, parse_config
from mtl_ray.errors import ConfigError
from mtl_ray.training import machine

SMALL: dict[str, Any] = {
    "name": "small",
    "features": {"repo": "feature_repo", "service": "s_v1"},
    "training_set": {"spine": "spine", "split": {"by": "time", "validation": 0.1, "test": 0.1}},
    "model": {"name": "mmoe"},
    "tasks": {"click": {"type": "binary"}},
}


def chosen(monkeypatch: pytest.MonkeyPatch, here: list[Machine], **training: Any) -> tuple[Config, str]:
    monkeypatch.setattr(machine, "machines", lambda: here)
    config, words = machine.with_workers(parse_config({**SMALL, "training": {"workers": "auto", **training}}))
    assert words is not None
    return config, words


@pytest.mark.parametrize(
    ("here", "workers", "cpus"),
    [
        ([Machine(1, 0)], 1, 1),
        ([Machine(2, 0)], 1, 2),
        ([Machine(8, 0)], 1, 8),
        ([Machine(16, 0)], 2, 8),
        ([Machine(8, 0)] * 2, 2, 8),
        ([Machine(4, 0), Machine(12, 0)], 4, 4),
    ],
)
def test_cores(monkeypatch: pytest.MonkeyPatch, here: list[Machine], workers: int, cpus: float) -> None:
    config, words = chosen(monkeypatch, here)
    assert config.training.workers.max == config.training.workers.min == workers
    assert not config.training.workers.auto
    assert config.training.cpus_per_worker == cpus
    assert f"{workers} worker" in words
    assert parse_config(config.model_dump(mode="json")) == config


def test_one_worker_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    config, words = chosen(monkeypatch, [Machine(16, 4)] * 2, use_gpu=True, cpus_per_worker=2)
    assert config.training.workers.max == 8
    assert config.training.cpus_per_worker == 2
    assert "each of 8 GPUs" in words


def test_idle_gpus_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "training.use_gpu is false" in chosen(monkeypatch, [Machine(4, 1)])[1]


def test_cpus_per_worker_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    config, _ = chosen(monkeypatch, [Machine(4, 0)], cpus_per_worker=1)
    assert config.training.workers.max == 4


def test_as_many_as_divide_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    config, words = chosen(monkeypatch, [Machine(3, 0)], cpus_per_worker=1, global_batch_size=1000)
    assert config.training.workers.max == 2
    assert "3 do not divide the 1,000 rows" in words


def test_no_node_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no room for a worker") as caught:
        chosen(monkeypatch, [])
    assert "training.workers" in str(caught.value)
    with pytest.raises(ConfigError, match="no room for a worker"):
        chosen(monkeypatch, [Machine(4, 0)], use_gpu=True)


def test_a_number_is_left_alone() -> None:
    config = parse_config({**SMALL, "training": {"workers": 2}})
    assert machine.with_workers(config) == (config, None)
