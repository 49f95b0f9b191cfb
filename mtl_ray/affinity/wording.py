"""Affinities in words and numbers, for the terminal and the page alike."""

from __future__ import annotations

from collections.abc import Iterable

from mtl_ray.affinity.result import Estimate, Grouping, TaskAffinity
from mtl_ray.report.formatting import ABSENT, decimal, decimals_for, percent

VERDICTS = {"better": "better", "within noise": "not shown", "together": "together"}
"""As they are shown."""


def verdict_sentence(found: TaskAffinity) -> str:
    """The result in a sentence or two."""
    best = found.best
    if best is not None:
        gain = f"{signed(best.gain.value, scale(found))} % a step over all tasks together"
        return f"Train {groups_text(best.groups)}: {gain} ({interval(best.gain, found)})."
    if all(grouping.verdict == "together" for grouping in found.groupings):
        return "Train all tasks together: no grouping scores higher."
    return "Train all tasks together: no grouping's interval shows that it beats that."


def groups_text(groups: Iterable[Iterable[str]]) -> str:
    """Such as `click + cart | rating`."""
    return " | ".join(map(group_text, groups))


def group_text(group: Iterable[str]) -> str:
    """Such as `click + cart`."""
    return " + ".join(group)


def scale(found: TaskAffinity) -> float:
    """The largest affinity between two tasks, by size; it decides the decimals that affinities are shown with."""
    tasks = range(len(found.tasks))
    sizes = [abs(found.affinity[i][j].value or 0.0) for i in tasks for j in tasks if i != j]
    return max(sizes)


def signed(value: float | None, largest: float) -> str:
    """An affinity in per cent of a loss, with its sign, in decimals that show three digits of `largest`."""
    if value is None:
        return ABSENT
    text = decimal(100 * value, min(max(decimals_for(100 * largest) - 1, 0), 6))
    return "+" + text if value > 0 and any(digit in text for digit in "123456789") else text


def interval(estimate: Estimate, found: TaskAffinity) -> str:
    """Such as `+0.101, +0.145`; nothing where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{signed(estimate.low, scale(found))}, {signed(estimate.high, scale(found))}"


def service(grouping: Grouping) -> str:
    """Which tasks a group helps without serving them; empty where every group serves all its tasks."""
    said = []
    for at, group in enumerate(grouping.groups):
        helpers = [task for task in group if grouping.served[task] != at]
        if helpers:
            said.append(f"{' and '.join(helpers)} in {group_text(group)} only to help the others")
    return "; ".join(said)


def runner_up_text(grouping: Grouping, found: TaskAffinity) -> str:
    """The next best grouping and how far behind it is."""
    if grouping.runner_up is None or grouping.lead is None:
        return ABSENT
    behind = signed(grouping.lead.value, scale(found))
    return f"{groups_text(grouping.runner_up)}, {behind} % behind ({interval(grouping.lead, found)})"


def wins_text(grouping: Grouping) -> str:
    return percent(grouping.wins)


def method(found: TaskAffinity) -> str:
    """How the numbers came about."""
    return (
        f"{found.steps:,} of {found.training_steps:,} steps of one training measured, every "
        f"{found.every:,}; each interval holds with {100 * found.confidence:g} % by itself ({found.replicates:,} "
        f"resamplings of blocks of {found.block} measured step{'s' if found.block > 1 else ''}), for this training: "
        "another seed is not in it"
    )
