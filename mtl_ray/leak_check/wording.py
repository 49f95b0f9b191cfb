"""A leak check in words and numbers, for the terminal and the page alike."""

from __future__ import annotations

from mtl_ray.leak_check.result import Inflation, LeakCheck
from mtl_ray.report.formatting import ABSENT, decimal, percent


def verdict_sentence(check: LeakCheck) -> str:
    """The check in a sentence."""
    if not any(view.changed for view in check.views):
        return "No view can leak: joined by its keys alone, each gives the same values."
    if not check.leaking:
        return "A join by keys alone would have changed values, but no test AUC beyond noise."
    found = [(view.view, view.tasks) for view in check.views] + [("all views", check.together)]
    leaks = [
        (item.inflation or 0.0, name, task)
        for name, tasks in found
        for task, item in tasks.items()
        if item.verdict == "leak"
    ]
    most, name, task = max(leaks)
    leak = "leaks" if len(check.leaking) == 1 else "leak"
    views = f"{len(check.leaking)} of {len(check.views)} views {leak}: {', '.join(check.leaking)}"
    return f"{views}. At most {signed(most)} of test AUC would have been faked, of {task} by {name}."


def signed(value: float | None) -> str:
    """`0.1234` as `+0.123`; exactly 0 as `0`."""
    if value is None:
        return ABSENT
    if value == 0.0:
        return "0"
    return ("+" if value > 0 else "") + decimal(value, 3)


def auc(value: float | None) -> str:
    return decimal(value, 3)


def interval(item: Inflation) -> str:
    """Such as `+0.101, +0.145`; nothing where there is none, or nothing to be in doubt about."""
    if item.low is None or item.verdict == "none":
        return ""
    return f"{signed(item.low)}, {signed(item.high)}"


def share(value: float) -> str:
    return "none" if value == 0.0 else percent(value, 1)


def method(check: LeakCheck) -> str:
    """How the numbers came about."""
    trainings = f"{check.seeds} training{'s' if check.seeds > 1 else ''} of {check.epochs} epoch"
    trainings += "s" if check.epochs > 1 else ""
    seeds = "; seeds" if check.seeds > 1 else ""
    drawn = "rows" if check.resampled == "rows" else f"whole {check.resampled} groups"
    return (
        f"{check.rows:,} of {check.spine_rows:,} spine rows; {trainings} behind each AUC; "
        f"all intervals together hold with {100 * check.confidence:g} % (resampled: {drawn}{seeds})"
    )
