"""Validation is exact however its rows lie on ranks, and only a better value counts as better."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.metrics import log_loss, roc_auc_score

from mtl_ray.batch import Batch
from mtl_ray.models import MultiTaskModel
from mtl_ray.models.sharing import SharedBottomConfig
from mtl_ray.training.validation import Groups, is_better, validate
from tests.random_batch import SCHEMA, make_tasks, part_of, random_batch

ROWS = 60
CPU = torch.device("cpu")
Share = list[tuple[Batch, Groups | None]]


def build() -> MultiTaskModel:
    torch.manual_seed(0)
    return SharedBottomConfig(bottom=(8,), tower=(4,), dropout=0.5).build(SCHEMA, make_tasks())


def rows(part: slice) -> tuple[Batch, Groups]:
    return part_of(random_batch(ROWS, seed=4), part), np.array([f"user{row % 7}" for row in range(ROWS)])[part]


def padding() -> tuple[Batch, Groups]:
    """Rows of a last batch that is filled up: labels and groups are there, nothing is observed."""
    batch, groups = rows(slice(0, 5))
    return replace(batch, observed=torch.zeros_like(batch.observed), row_id=torch.full_like(batch.row_id, -1)), groups


WHOLE: Share = [rows(slice(0, ROWS))]
TWO_RANKS: dict[str, list[Share]] = {
    "uneven shares": [[rows(slice(0, 9)), rows(slice(20, ROWS))], [rows(slice(9, 20)), padding()]],
    "a rank of padding alone": [[padding()], WHOLE],
    "a rank without a batch": [WHOLE, []],
}


def validated(share: Share) -> dict[str, float]:
    return validate(build(), share, make_tasks(), CPU, "fp32")


def on_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save({case: validated(shares[rank]) for case, shares in TWO_RANKS.items()}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_equals_scikit_learn_over_the_observed_rows() -> None:
    values = validated(WHOLE)
    batch, _ = WHOLE[0]
    model = build().eval()
    with torch.inference_mode():
        probability = torch.sigmoid(model(batch)["click"]).squeeze(-1).numpy()
    seen = batch.observed[:, 0].numpy()
    label = batch.labels[:, 0].numpy()[seen]
    assert values["click/roc_auc"] == pytest.approx(roc_auc_score(label, probability[seen]), abs=1e-6)
    assert values["click/log_loss"] == pytest.approx(log_loss(label, probability[seen]), abs=1e-6)
    weighted = log_loss(label, probability[seen].astype(np.float64), sample_weight=batch.sample_weight.numpy()[seen])
    assert values["click/loss"] == pytest.approx(weighted, abs=1e-6)
    assert math.isfinite(values["click/gauc"])


def test_batches_and_padding_change_nothing() -> None:
    values = validated([rows(slice(0, 17)), rows(slice(17, ROWS)), padding()])
    assert values == pytest.approx(validated(WHOLE), rel=1e-6, abs=1e-6)


def test_every_rank_has_the_values_of_all_rows(tmp_path: Path) -> None:
    mp.spawn(on_rank, args=(str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    expected = validated(WHOLE)
    for case in TWO_RANKS:
        assert first[case] == second[case], case
        assert first[case] == pytest.approx(expected, rel=1e-6, abs=1e-6), case


def test_the_model_trains_on_afterwards() -> None:
    model = build()
    validate(model, WHOLE, make_tasks(), CPU, "fp32")
    assert model.training


@pytest.mark.parametrize(
    ("value", "best", "greater", "min_delta", "better"),
    [
        (0.7, None, True, 0.0, True),
        (0.7, 0.6, True, 0.0, True),
        (0.6, 0.6, True, 0.0, False),
        (0.6, 0.7, False, 0.0, True),
        (0.7, 0.7, False, 0.0, False),
        (0.65, 0.6, True, 0.1, False),
        (0.75, 0.6, True, 0.1, True),
        (0.55, 0.6, False, 0.1, False),
        (math.nan, None, True, 0.0, False),
        (math.nan, 0.6, False, 0.0, False),
    ],
)
def test_what_counts_as_better(value: float, best: float | None, greater: bool, min_delta: float, better: bool) -> None:
    assert is_better(value, best, greater, min_delta) == better
