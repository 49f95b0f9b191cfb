"""The next-item loss against a loop over queries and distinct candidates in numpy, and its gradient against a naive
torch version and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import NextItemTaskConfig
from mtl_ray.tasks.next_item import NextItemTask, joined

ROWS, DIM, ITEMS = 40, 5, 8


def task(**fields: object) -> NextItemTask:
    config = NextItemTaskConfig.model_validate({"user": ("u",), "item": ("i",), "dim": DIM, **fields})
    return config.build("next", LabelStatistics(observed=0))


def vectors(item_features_vary: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """User and item vectors `[B, D]` of any length, ids and labels `[B]`: popular items and rare ones."""
    random = torch.Generator().manual_seed(1)
    ids = (ITEMS * torch.rand(ROWS, generator=random) ** 2).long()
    user = torch.randn(ROWS, DIM, generator=random, dtype=torch.float64)
    item = torch.randn(ROWS if item_features_vary else ITEMS, DIM, generator=random, dtype=torch.float64)
    label = (torch.rand(ROWS, generator=random) < 0.6).double()
    return user, item if item_features_vary else item[ids], ids, label


def of_distinct_items(user: np.ndarray, item: np.ndarray, ids: np.ndarray, label: np.ndarray, t: float) -> np.ndarray:
    """Every item of the queries is one candidate, whatever the number of queries."""
    table = {int(ids[row]): item[row] / np.linalg.norm(item[row]) for row in range(ROWS) if label[row]}
    losses = np.zeros(ROWS)
    for row in range(ROWS):
        if label[row]:
            unit = user[row] / np.linalg.norm(user[row])
            scores = {key: math.exp(unit @ vector / t) for key, vector in table.items()}
            losses[row] = -math.log(scores[int(ids[row])] / sum(scores.values()))
    return losses


def of_rows(
    user: np.ndarray, item: np.ndarray, ids: np.ndarray, label: np.ndarray, t: float, corrected: bool
) -> np.ndarray:
    """Every query's item is a candidate, but where it is that of the query itself in another row."""
    queries = [row for row in range(ROWS) if label[row]]
    losses = np.zeros(ROWS)
    for row in queries:
        unit = user[row] / np.linalg.norm(user[row])
        total = 0.0
        for other in queries:
            if other != row and ids[other] == ids[row]:
                continue
            count = sum(ids[one] == ids[other] for one in queries) if corrected and other != row else 1
            total += math.exp(unit @ item[other] / np.linalg.norm(item[other]) / t) / count
        losses[row] = -math.log(math.exp(unit @ item[row] / np.linalg.norm(item[row]) / t) / total)
    return losses


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_corrected_loss_is_a_cross_entropy_over_the_distinct_items(temperature: float) -> None:
    user, item, ids, label = vectors(item_features_vary=False)
    found = task(temperature=temperature).loss(joined(user, item, ids), label)
    expected = of_distinct_items(user.numpy(), item.numpy(), ids.numpy(), label.numpy(), temperature)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)
    assert len(set(ids[label > 0].tolist())) < int(label.sum())


@pytest.mark.parametrize("correct", [True, False])
@pytest.mark.parametrize("varies", [True, False])
def test_rows_with_the_query_s_item_are_no_candidates(correct: bool, varies: bool) -> None:
    user, item, ids, label = vectors(varies)
    found = task(correct_popularity=correct).loss(joined(user, item, ids), label)
    expected = of_rows(user.numpy(), item.numpy(), ids.numpy(), label.numpy(), 0.1, correct)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)
    if not correct:
        corrected = of_rows(user.numpy(), item.numpy(), ids.numpy(), label.numpy(), 0.1, True)
        assert np.abs(expected - corrected).max() > 0.1


def naive(user: Tensor, item: Tensor, ids: Tensor, label: Tensor, correct: bool) -> Tensor:
    user, item = (x / x.norm(dim=1, keepdim=True) for x in (user, item))
    score = user @ item.T / 0.1
    query = label > 0.5
    same = ids[:, None] == ids
    count = (same & query).sum(dim=1).clamp(min=1).double()
    weight = torch.where(same | ~query, 0.0, 1.0 / count if correct else 1.0)
    own = score.diagonal()
    return ((own.exp() + (weight * score.exp()).sum(dim=1)).log() - own) * query


@pytest.mark.parametrize("correct", [True, False])
def test_gradients_are_those_of_the_naive_loss(correct: bool) -> None:
    user, item, ids, label = vectors(item_features_vary=True)
    weight = torch.linspace(0.5, 2.0, ROWS, dtype=torch.float64)
    sides = (user.requires_grad_(), item.requires_grad_())
    found = torch.autograd.grad(weight @ task(correct_popularity=correct).loss(joined(*sides, ids), label), sides)
    expected = torch.autograd.grad(weight @ naive(*sides, ids, label, correct), sides)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("correct", [True, False])
def test_gradients_are_finite_differences(correct: bool) -> None:
    user, item, ids, label = (x[:9] for x in vectors(item_features_vary=True))

    def loss(user: Tensor, item: Tensor) -> Tensor:
        return task(correct_popularity=correct, temperature=0.5).loss(joined(user, item, ids), label)

    assert torch.autograd.gradcheck(loss, (user.requires_grad_(), item.requires_grad_()))


def slope(score_UI: Tensor, taken_UI: Tensor, correct: bool) -> float:
    """Norm of the gradient where user u scores item i with `score` and has taken it `taken` times."""
    users = len(score_UI)
    one = task(correct_popularity=correct, dim=users + 1, temperature=0.05)
    # Unit vectors with these scores: users are axes, and the last axis fills the items up.
    known = 0.05 * score_UI.T
    item = torch.cat([known, (1.0 - known.square().sum(dim=1, keepdim=True)).sqrt()], dim=1).requires_grad_()
    user = torch.eye(users, users + 1, dtype=torch.float64)
    of_row, item_of_row = (taken_UI > 0).nonzero().repeat_interleave(taken_UI.flatten(), dim=0).T
    logits = joined(user[of_row], item[item_of_row], item_of_row)
    (grad,) = torch.autograd.grad(one.loss(logits, torch.ones(len(logits))).mean(), item)
    return float(grad.norm())


def test_what_the_scores_go_towards() -> None:
    """log P(item | user) with the correction, and without it, where no item is a large part of the batch, that less
    log P(item): there the gradient is 0."""
    random = torch.Generator().manual_seed(0)
    taken = 1 + torch.randint(0, 6, (2, 300), generator=random)
    share = taken / taken.sum(dim=1, keepdim=True, dtype=torch.float64)
    shared = (taken.sum(dim=0) / taken.sum(dtype=torch.float64)).log()
    of_item, against_others = share.log() - share.log().max(), share.log() - shared
    assert slope(of_item, taken, correct=True) < 1e-12
    assert slope(against_others, taken, correct=True) > 1e-2
    assert slope(of_item, taken, correct=False) > 1e-2
    assert slope(against_others, taken, correct=False) < 0.02 * slope(of_item, taken, correct=False)
