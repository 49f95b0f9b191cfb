"""The best grouping is that of a search through all covers of the tasks."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from mtl_ray.affinity.grouping import (
    Best,
    Group,
    best_grouping,
    best_scores,
    members,
    runner_up,
    score,
    served_by,
)


def by_hand(affinity: np.ndarray, groups: tuple[Group, ...]) -> float:
    """The score, task by task."""
    total = 0.0
    for task in range(len(affinity)):
        onto = []
        for group in groups:
            if task in group:
                others = [affinity[other, task] for other in group if other != task]
                onto.append(sum(others) / len(others) if others else 0.0)
        total += max(onto)
    return total


def all_covers(tasks: int, most: int) -> list[tuple[Group, ...]]:
    every = [members(mask) for mask in range(1, 2**tasks)]
    covers = [cover for number in range(1, most + 1) for cover in combinations(every, number)]
    return [tuple(sorted(cover)) for cover in covers if len(set().union(*cover)) == tasks]


def needed(affinity: np.ndarray, cover: tuple[Group, ...]) -> bool:
    """Whether each group serves some task."""
    return set(served_by(affinity, cover)) == set(range(len(cover)))


CASES = [(tasks, most, shift) for tasks in (2, 3, 4, 5) for most in range(1, min(tasks, 3) + 1) for shift in (-1, 0, 1)]


@pytest.mark.parametrize(("tasks", "most", "shift"), CASES)
def test_it_is_the_best_of_all_covers(tasks: int, most: int, shift: float) -> None:
    affinity = np.random.default_rng([tasks, most, shift + 1]).normal(shift, 1.0, (tasks, tasks))
    covers = {cover: by_hand(affinity, cover) for cover in all_covers(tasks, most) if needed(affinity, cover)}
    ranked = sorted(covers, key=lambda cover: -covers[cover])
    found = best_grouping(affinity, most)
    assert found.groups == ranked[0]
    assert found.score == pytest.approx(covers[ranked[0]], abs=1e-12)
    second = runner_up(affinity, most, found)
    if len(ranked) == 1:
        assert second is None
    else:
        assert second is not None
        assert second.groups == ranked[1]
        assert second.score == pytest.approx(covers[ranked[1]], abs=1e-12)


def test_four_groups_of_five_tasks() -> None:
    affinity = np.random.default_rng(0).normal(0.0, 1.0, (5, 5))
    covers = all_covers(5, 4)
    found = best_grouping(affinity, 4)
    assert found.score == pytest.approx(max(by_hand(affinity, cover) for cover in covers), abs=1e-12)
    assert by_hand(affinity, found.groups) == pytest.approx(found.score, abs=1e-12)


def test_scores_of_many_matrices_at_once() -> None:
    affinity = np.random.default_rng(1).normal(0.1, 1.0, (150, 5, 5))
    highest = best_scores(affinity, 3)
    assert highest.shape == (3, 150)
    for at in range(0, 150, 7):
        for most in (1, 2, 3):
            found = best_grouping(affinity[at], most)
            assert highest[most - 1, at] == pytest.approx(found.score, abs=1e-12)
            assert score(affinity[at : at + 1], found.groups)[0] == pytest.approx(found.score, abs=1e-12)
            assert by_hand(affinity[at], found.groups) == pytest.approx(found.score, abs=1e-12)


def test_a_task_may_help_in_a_group_that_does_not_serve_it() -> None:
    affinity = np.full((3, 3), -1.0)
    affinity[0, 1] = affinity[0, 2] = affinity[2, 0] = 1.0
    found = best_grouping(affinity, 2)
    assert found == Best(((0, 1), (0, 2)), 3.0)
    assert served_by(affinity, found.groups) == (1, 0, 1)


def test_no_more_groups_than_are_of_use() -> None:
    alike = np.ones((4, 4))
    assert best_grouping(alike, 3).groups == ((0, 1, 2, 3),)
    harmful = -np.ones((3, 3))
    assert best_grouping(harmful, 3) == Best(((0,), (1,), (2,)), 0.0)
    assert best_grouping(np.zeros((3, 3)), 3).groups == ((0, 1, 2),)


def test_the_diagonal_does_not_count() -> None:
    affinity = np.random.default_rng(2).normal(0.0, 1.0, (4, 4))
    other = affinity.copy()
    np.fill_diagonal(other, 100.0)
    assert best_grouping(affinity, 2).groups == best_grouping(other, 2).groups
    assert best_grouping(affinity, 2).score == pytest.approx(best_grouping(other, 2).score, abs=1e-12)
