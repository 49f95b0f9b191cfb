"""A training with a compiled model, on two workers, ends as one without."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.config import parse_config
from mtl_ray.training.launch import train
from mtl_ray.training.progress import Record

pytestmark = pytest.mark.usefixtures("ray_cluster")


def trained(shop: Any, setting: bool | str) -> tuple[dict[str, torch.Tensor], list[Record]]:
    records: list[Record] = []
    training = {**shop.config["training"], "precision": "fp64", "global_batch_size": 256, "compile": setting}
    outcome = train(parse_config({**shop.config, "training": training}), lambda _: None, records.append)
    return load_checkpoint(outcome.run.checkpoint("last")).weights, records


@pytest.mark.slow
def test_the_same_end(shop: Any) -> None:
    plain, records = trained(shop, False)
    assert not [record for record in records if record["kind"] == "compile"]
    for setting in (True, "auto"):
        compiled, records = trained(shop, setting)
        (said,) = [record["words"] for record in records if record["kind"] == "compile"]
        assert "compiled" in said
        for name, tensor in plain.items():
            torch.testing.assert_close(compiled[name], tensor, rtol=0, atol=1e-5, msg=name)
