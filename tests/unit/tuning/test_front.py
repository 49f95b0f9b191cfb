"""The front and its hypervolume, against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from mtl_ray.tuning.front import dominates, front_of, hypervolume


def test_the_front_has_all_that_nothing_dominates_and_nothing_else() -> None:
    draw = np.random.default_rng(0)
    scores = {number: tuple(draw.integers(0, 12, 2).astype(float)) for number in range(60)}
    front = front_of(scores)
    for own in scores.values():
        beaten = [other for other in scores.values() if dominates(other, own)]
        assert bool(beaten) == (own not in {scores[kept] for kept in front})
    assert len({scores[number] for number in front}) == len(front)
    assert [scores[number][0] for number in front] == sorted((scores[number][0] for number in front), reverse=True)


def test_one_objective_has_one_best() -> None:
    assert front_of({0: (1.0,), 1: (3.0,), 2: (3.0,), 3: (2.0,)}) == (1,)
    assert front_of({}) == ()


def test_hypervolume_is_the_area_that_the_points_cover() -> None:
    draw = np.random.default_rng(1)
    points = [tuple(point) for point in draw.random((25, 2))]
    reference = (0.1, 0.2)
    grid = (np.arange(1000) + 0.5) / 1000
    x, y = np.meshgrid(grid, grid)
    inside = (x > reference[0]) & (y > reference[1])
    covered = np.zeros_like(inside)
    for a, b in points:
        covered |= inside & (x < a) & (y < b)
    assert hypervolume(points, reference) == pytest.approx(covered.mean(), abs=2e-3)
    assert hypervolume([(0.0, 0.9)], reference) == 0.0
