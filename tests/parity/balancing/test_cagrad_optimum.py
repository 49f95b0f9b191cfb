"""CAGrad's factors are the optimum of the paper's problem: by its optimality conditions, by a grid over the simplex
with two tasks, and as TorchJD finds it, to the digits that its solver gives."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torchjd.aggregation import CAGradWeighting

from mtl_ray.aggregation.cagrad import conflict_averse

Array = npt.NDArray[np.float64]


def gramian(tasks: int, seed: int, dim: int = 50) -> Array:
    """Of gradients of unlike lengths that partly agree, with a mean diagonal of 1."""
    random = np.random.default_rng(seed)
    lengths = np.exp(random.normal(size=(tasks, 1)))
    rows = random.normal(size=(tasks, dim)) * lengths + random.normal() * random.normal(size=dim)
    found: Array = rows @ rows.T
    return found * tasks / np.trace(found)


def dual(gramian_TT: Array, weight_T: Array, c: float) -> float:
    """What the paper minimises, `[T]` on the simplex."""
    mean_T = gramian_TT.mean(axis=0)
    return float(weight_T @ mean_T + c * np.sqrt(mean_T.mean()) * np.sqrt(weight_T @ gramian_TT @ weight_T))


def weights_of(factor_T: Array) -> Array:
    """Of the dual problem, from factors 1 / T + lambda w."""
    more_T = factor_T - 1 / len(factor_T)
    found: Array = more_T / more_T.sum()
    return found


@pytest.mark.parametrize("c", [0.05, 0.4, 0.9])
@pytest.mark.parametrize("tasks", [2, 3, 8, 20])
def test_optimality_conditions(tasks: int, c: float) -> None:
    for seed in range(20):
        gramian_TT = gramian(tasks, seed)
        factor_T = conflict_averse(gramian_TT, c)
        weight_T = weights_of(factor_T)
        radius = c * np.sqrt(gramian_TT.mean())
        length = np.sqrt(weight_T @ gramian_TT @ weight_T)
        slope_T = gramian_TT.mean(axis=0) + radius / length * gramian_TT @ weight_T
        assert weight_T.min() >= -1e-12
        assert np.abs(weight_T * (slope_T - slope_T.min())).max() < 1e-9
        # The update is as far from the mean gradient as it may be.
        away_T = factor_T - 1 / tasks
        assert np.sqrt(away_T @ gramian_TT @ away_T) == pytest.approx(radius, rel=1e-9)


def test_two_tasks_by_a_grid() -> None:
    for seed in range(10):
        gramian_TT = gramian(2, seed)
        grid = np.linspace(0.0, 1.0, 100_001)
        values = [dual(gramian_TT, np.array([share, 1 - share]), 0.4) for share in grid[::100]]
        best = grid[::100][int(np.argmin(values))]
        near = grid[np.abs(grid - best) <= 1e-3]
        share = near[int(np.argmin([dual(gramian_TT, np.array([at, 1 - at]), 0.4) for at in near]))]
        assert weights_of(conflict_averse(gramian_TT, 0.4))[0] == pytest.approx(share, abs=2e-5)


@pytest.mark.parametrize("tasks", [2, 3, 8])
def test_as_torchjd_and_never_worse(tasks: int) -> None:
    for seed in range(10):
        gramian_TT = gramian(tasks, seed)
        ours, theirs = conflict_averse(gramian_TT, 0.4), CAGradWeighting(0.4)(torch.from_numpy(gramian_TT)).numpy()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-3)
        ours_at, theirs_at = (dual(gramian_TT, weights_of(factor_T), 0.4) for factor_T in (ours, theirs))
        assert ours_at <= theirs_at + 1e-8


def test_rounding_of_the_inner_products_does_not_grow() -> None:
    """Workers sum in another order."""
    random = np.random.default_rng(0)
    for seed in range(20):
        gramian_TT = gramian(5, seed)
        noise = 1.0 + 1e-15 * random.normal(size=(5, 5))
        np.testing.assert_allclose(
            conflict_averse(gramian_TT * (noise + noise.T) / 2, 0.4),
            conflict_averse(gramian_TT, 0.4),
            rtol=0,
            atol=1e-11,
        )


def test_gradients_that_depend_on_each_other() -> None:
    rows = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    factor_T = conflict_averse(rows @ rows.T, 0.4)
    moved = factor_T @ rows
    once_T = conflict_averse((rows @ rows.T)[[0, 2]][:, [0, 2]], 0.0)
    assert np.isfinite(factor_T).all()
    np.testing.assert_allclose(once_T, 0.5)
    mean = rows.mean(axis=0)
    # Within the radius around (2/3, 1/3) the task that is worst off, the second, gains most by its own gradient.
    np.testing.assert_allclose(moved, mean + 0.4 * np.linalg.norm(mean) * np.array([0.0, 1.0]), atol=1e-6)


def test_no_radius_no_gradient_and_a_pareto_point() -> None:
    np.testing.assert_array_equal(conflict_averse(gramian(3, 0), 0.0), np.full(3, 1 / 3))
    np.testing.assert_array_equal(conflict_averse(np.zeros((3, 3)), 0.4), np.full(3, 1 / 3))
    done = np.array([[0.0], [1.0]])
    np.testing.assert_array_equal(conflict_averse(done @ done.T, 0.4), np.zeros(2))
    np.testing.assert_array_equal(CAGradWeighting(0.4)(torch.from_numpy(done @ done.T)).numpy(), np.zeros(2))
