"""A checkpoint that is gone on from with other learning rates and decays: the weights are its own, the rates the
config's, at this step of the schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.training.test_resume_balanced import STEPS, Run

SCHEDULE = {"decay": "cosine", "warmup_steps": 2}


def training(**optimizer: Any) -> dict[str, Any]:
    return {"training": {"schedule": SCHEDULE, "optimizer": optimizer}}


def rates(run: Run) -> list[tuple[float, float]]:
    return [(group["lr"], group["weight_decay"]) for group in run.state.optimizer.param_groups]


@pytest.mark.parametrize("tables", ["dense", "rowwise_adagrad"])
def test_rates_are_those_of_the_config(tmp_path: Path, tables: str) -> None:
    embeddings = {"embeddings": {"name": tables}}
    old = training(learning_rate=0.01, **embeddings)
    new = training(learning_rate=0.002, embedding_learning_rate=0.5, weight_decay=0.1, **embeddings)
    first = Run(old)
    first.go_on(4)
    first.state.save(tmp_path)
    other, own = Run(new, tmp_path), Run(new)
    for name, value in first.parameters().items():
        assert torch.equal(other.parameters()[name], value), name
    own.go_on(4)
    for step in range(4, STEPS):
        assert rates(other) == rates(own)
        assert rates(other) != rates(first)
        for run in (first, other, own):
            run.go_on(step + 1)
