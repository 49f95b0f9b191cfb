"""--find-batch-size: real steps find a size, and the training with it is as if nobody had looked."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.config import parse_config
from mtl_ray.errors import ConfigError
from mtl_ray.run_folder import SUMMARY_FILE, unfinished_run
from mtl_ray.training.launch import TrainingOutcome, train, verified_training_set
from mtl_ray.training.resume import train_or_resume

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


def last(outcome: TrainingOutcome) -> dict[str, torch.Tensor]:
    return load_checkpoint(outcome.run.checkpoint("last")).weights


def test_a_size_is_found_said_and_kept(shop: Any) -> None:
    training = {**shop.config["training"], "epochs": 1, "workers": 1, "global_batch_size": 64}
    config = parse_config({**shop.config, "name": "sized", "training": training})
    said: list[str] = []
    outcome = train_or_resume(config, None, said.append, lambda _: None, find_batch_size=True)
    size = outcome.run.config().training.global_batch_size
    assert size in (64, 128, 256)  # 512 would leave fewer than 20 steps of the 9,000 rows
    (chosen,) = [words for words in said if f"training.global_batch_size={size}, because " in words]
    assert "learning_rate is left" in chosen
    tried = [int(found[1]) for words in said if (found := re.match(r"(\d+) rows a worker: ", words))]
    assert tried[: tried.index(size) + 1] == [64 * 2**n for n in range(tried.index(size) + 1)]

    written = parse_config({**shop.config, "name": "written", "training": {**training, "global_batch_size": size}})
    beside = last(train(written, said.append, lambda _: None))
    for name, tensor in last(outcome).items():
        assert torch.equal(tensor, beside[name]), name

    (outcome.run.path / SUMMARY_FILE).unlink()  # as if it had not ended
    assert unfinished_run(config, any_batch_size=True) == outcome.run
    assert size == 64 or unfinished_run(config) is None


def test_sharded_tables_are_refused(shop: Any) -> None:
    from mtl_ray.training.batch_size import with_batch_size

    config = parse_config({**shop.config, "training": {**shop.config["training"], "placement": "sharded"}})
    with pytest.raises(ConfigError, match="Sharded tables need all workers"):
        with_batch_size(config, verified_training_set(config, lambda _: None), lambda _: None)
