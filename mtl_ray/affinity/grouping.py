"""Which tasks to train together, from the affinity of each task onto each other: the best of all groupings.

A group is a set of tasks that are trained together. A task may be in several groups; the one in which it fares best
serves it. Affinity of a group onto one of its tasks is the mean over its other members; 0 for a task by itself. The
score of a grouping is the sum over tasks of the affinity of the group that serves the task (Fifty et al. 2021, section
4). The network-selection problem is that of Standley et al. (ICML 2020), and NP-hard; up to `MOST_TASKS` tasks it is
solved exactly here: what a group S serves are disjoint sets D of tasks, so that with

    w(D) = max over S that contain D of sum over j in D of affinity of S onto j

the best score of at most b groups is that of the best partition into b sets, by dynamic programming over sets of tasks:

    f_b(X) = max over D in X of w(D) + f_(b-1)(X - D)

3^T steps instead of one for each of up to 2^(T b) groupings. Sets are bit masks here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Group = tuple[int, ...]
"""Tasks in ascending order."""

MOST_TASKS = 12

SAME = 1e-12
"""Scores that differ by less are taken for equal."""

_BLOCK = 64
"""Matrices at a time: their tables for 12 tasks fit a processor's cache."""


class Best(NamedTuple):
    """The best grouping into at most so many groups."""

    groups: tuple[Group, ...]
    """Sorted; none of them could be left out."""
    score: float


def group_affinity(affinity_RTT: Floats, group: Group) -> Floats:
    """Affinity of `group` onto each of its tasks, `[R, len(group)]`, by R matrices."""
    inside = affinity_RTT[:, group, :][:, :, group]
    others = inside.sum(axis=1) - np.diagonal(inside, axis1=1, axis2=2)
    return others / max(len(group) - 1, 1)


def score(affinity_RTT: Floats, groups: Iterable[Group]) -> Floats:
    """Score of the grouping by each of R matrices, `[R]`."""
    return np.asarray(_onto_tasks(affinity_RTT, groups).max(axis=0).sum(axis=-1))


def served_by(affinity_TT: Floats, groups: Sequence[Group]) -> tuple[int, ...]:
    """For each task the position of the group that serves it."""
    return tuple(_onto_tasks(affinity_TT[None], groups)[:, 0].argmax(axis=0).tolist())


def _onto_tasks(affinity_RTT: Floats, groups: Iterable[Group]) -> Floats:
    """Affinity of each group onto each task, `[groups, R, T]`; -inf onto those outside."""
    found = []
    for group in groups:
        onto = np.full(affinity_RTT.shape[:2], -np.inf)
        onto[:, group] = group_affinity(affinity_RTT, group)
        found.append(onto)
    return np.stack(found)


def best_scores(affinity_RTT: Floats, most: int) -> Floats:
    """Score of the best grouping into at most 1, 2, ... `most` groups, `[most, R]`, by each of R matrices."""
    blocks = np.array_split(affinity_RTT, max(1, -(-len(affinity_RTT) // _BLOCK)))
    return np.concatenate([np.stack([f[-1] for f in _tables(block, most, ())[1]]) for block in blocks], axis=1)


def best_grouping(affinity_TT: Floats, most: int, without: Collection[Group] = ()) -> Best:
    """The best grouping into at most `most` groups, none of which is one of `without`; of equally good ones, one with
    as few groups as possible. A task by itself is always allowed where `without` does not name it.

    The score is -inf where no grouping is left.
    """
    tasks = len(affinity_TT)
    worth, best = _tables(affinity_TT[None], most, without)
    left, groups = 2**tasks - 1, set[Group]()
    level = next(b for b in range(most) if best[b][left, 0] >= best[most - 1][left, 0] - SAME)
    found = float(best[level][left, 0])
    if found == -np.inf:
        return Best((), found)
    while left:
        if level:
            served = _containing_lowest(left)
            total = worth[served, 0] + best[level - 1][left ^ served, 0]
            served_set = int(served[total.argmax()])
        else:
            served_set = left
        groups.add(_serving(affinity_TT, served_set, without))
        left, level = left ^ served_set, level - 1
    return Best(tuple(sorted(groups)), found)


def runner_up(affinity_TT: Floats, most: int, winner: Best) -> Best | None:
    """The best of the groupings that differ from `winner`; None where there is no other.

    Another grouping lacks a group of the winner's, or adds one that serves nobody, which no grouping here does.
    """
    others = [best_grouping(affinity_TT, most, (group,)) for group in winner.groups]
    found = max(others, key=lambda other: other.score)
    return found if found.groups else None


def _tables(affinity_RTT: Floats, most: int, without: Collection[Group]) -> tuple[Floats, list[Floats]]:
    """w and f_1 ... f_most, `[2^T, R]` each, by set."""
    number, tasks = affinity_RTT.shape[:2]
    worth = np.full((2**tasks, number), -np.inf)
    worth[0] = 0.0
    barred = {_mask(group) for group in without}
    for mask in range(1, 2**tasks):
        if mask in barred:
            continue
        group = members(mask)
        subsets = _subsets(mask)
        sums = _indicator(len(group)) @ group_affinity(affinity_RTT, group).T
        worth[subsets] = np.maximum(worth[subsets], sums)
    best = [worth]
    for _ in range(1, most):
        fewer, more = best[-1], worth.copy()
        for mask in range(1, 2**tasks):
            served = _containing_lowest(mask)
            more[mask] = (worth[served] + fewer[mask ^ served]).max(axis=0)
        best.append(more)
    return worth, best


def _serving(affinity_TT: Floats, served: int, without: Collection[Group]) -> Group:
    """The group that serves these tasks best; of equally good ones the smallest."""
    barred = {_mask(group) for group in without}
    candidates = []
    for mask in range(served, 2 ** len(affinity_TT)):
        if mask & served == served and mask not in barred:
            group = members(mask)
            own = [at for at, task in enumerate(group) if served >> task & 1]
            candidates.append((group, float(group_affinity(affinity_TT[None], group)[0, own].sum())))
    most = max(total for _, total in candidates)
    return min((group for group, total in candidates if total >= most - SAME), key=lambda group: (len(group), group))


def members(mask: int) -> Group:
    """Tasks of a set."""
    return tuple(task for task in range(mask.bit_length()) if mask >> task & 1)


def _mask(group: Group) -> int:
    return sum(1 << task for task in group)


@cache
def _indicator(size: int) -> Floats:
    """Which of `size` members each subset has, `[2^size, size]`."""
    return (np.arange(2**size)[:, None] >> np.arange(size) & 1).astype(np.float64)


def _subsets(mask: int) -> Ints:
    """All subsets, the empty one first, in the order of `_indicator`."""
    bits = np.array([1 << task for task in members(mask)], dtype=np.int64)
    return np.asarray(_indicator(len(bits)).astype(np.int64) @ bits)


def _containing_lowest(mask: int) -> Ints:
    """All subsets that have the set's first task."""
    lowest = mask & -mask
    return lowest | _subsets(mask ^ lowest)
