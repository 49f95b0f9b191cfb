"""The task graph: which tasks come before which, as the configs' `given` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter


class TaskGraph:
    """A directed acyclic graph of tasks, each known by its position in task order.

    Where an edge leads from a parent to a task, the task's label can be 1 only where the parent's is: a purchase needs
    a click. Take every label as such and

        P(task = 1) = P(task = 1 and all its ancestors = 1)
                    = product over it and its ancestors of P(a = 1 | a's parents = 1)

    which is what a Bayesian network on this graph says, whatever its shape, and with each ancestor counted once.

    Attributes:
        names: the tasks, in task order.
        parents: positions of each task's parents, in the order of `given`.
        order: all positions, parents before children.
    """

    def __init__(self, names: Sequence[str], given: Mapping[str, Sequence[str]]) -> None:
        """Raises graphlib.CycleError where `given` goes round in a circle (`check_tasks` refuses it before)."""
        self.names = tuple(names)
        position = {name: index for index, name in enumerate(self.names)}
        self.parents = tuple(tuple(position[parent] for parent in given.get(name, ())) for name in self.names)
        self.order = tuple(TopologicalSorter(dict(enumerate(self.parents))).static_order())

    def __len__(self) -> int:
        return len(self.names)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """(parent, task), by task."""
        return tuple((parent, task) for task, parents in enumerate(self.parents) for parent in parents)

    def ancestors(self, index: int) -> tuple[int, ...]:
        """Parents, their parents and so on, each once, in the order of `order`."""
        found: set[int] = set()
        open_ = list(self.parents[index])
        while open_:
            task = open_.pop()
            if task not in found:
                found.add(task)
                open_ += self.parents[task]
        return tuple(task for task in self.order if task in found)

    def has_children(self, index: int) -> bool:
        """Whether another task is given this one."""
        return any(index in parents for parents in self.parents)

    def depth(self, index: int) -> int:
        """Edges on the longest way from a task without parents: 0 for such a task."""
        return max((self.depth(parent) + 1 for parent in self.parents[index]), default=0)

    def components(self) -> tuple[tuple[int, ...], ...]:
        """Tasks that hang together, each part and all of them in task order."""
        part = list(range(len(self)))
        for parent, task in self.edges:
            old, new = part[task], part[parent]
            part = [new if value == old else value for value in part]
        return tuple(tuple(i for i, value in enumerate(part) if value == first) for first in dict.fromkeys(part))
