"""The penalty on embeddings that a batch's rows show, against a loop over rows and ids."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mtl_ray.models.encoders import FeatureEncoderConfig
from mtl_ray.models.settings import ModelSettings
from mtl_ray.models.sharing import SharedBottomConfig, STEMConfig
from tests.random_batch import SCHEMA, make_tasks, random_batch

ENCODER = FeatureEncoderConfig(embedding_dim=3, embedding_std=0.5, embedding_l2=0.25)


@pytest.mark.parametrize("config", [SharedBottomConfig(encoder=ENCODER), STEMConfig(encoder=ENCODER)])
def test_it_is_the_mean_over_real_rows(config: ModelSettings) -> None:
    torch.manual_seed(0)
    model = config.build(SCHEMA, make_tasks()).double()
    batch = random_batch(9, dtype=torch.float64)
    batch = replace(batch, row_id=torch.where(torch.arange(9) < 7, batch.row_id, -1))
    start = dict(
        zip(SCHEMA.vocabularies, torch.tensor([0, *SCHEMA.vocabularies.values()]).cumsum(0).tolist(), strict=False)
    )
    total = 0.0
    for row in range(7):
        shown = [
            start[feature.vocabulary] + int(batch.categorical[row, column])
            for column, feature in enumerate(SCHEMA.categorical)
        ]
        for feature in SCHEMA.lists:
            shown += [start[feature.vocabulary] + int(i) for i in batch.lists[feature.name][row] if int(i) != 0]
        for table in model.embedding_parameters():
            total += sum(float(table[position].detach().square().sum()) for position in shown)
    loss = model.auxiliary_losses(batch, model(batch))["embedding_l2"]
    assert model.auxiliary_names == ("embedding_l2",)
    assert float((loss.sum / loss.weight).detach()) == pytest.approx(0.25 * total / 7, abs=1e-12)


def test_without_a_coefficient_there_is_none() -> None:
    assert SharedBottomConfig().build(SCHEMA, make_tasks()).auxiliary_names == ()
