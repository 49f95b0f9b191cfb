"""A comparison in words and numbers, for the terminal and the page alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mtl_ray.comparison.result import Comparison, Training
from mtl_ray.evaluation.differences import Difference
from mtl_ray.report.comparison import value_text
from mtl_ray.report.formatting import ABSENT
from mtl_ray.report.glossary import metric_info

TRANSFER_WORDS = {"better": "helped", "worse": "harmed"}
"""What better and worse than a task's twin are called."""


@dataclass(frozen=True)
class Line:
    """One line of the comparison."""

    kind: Literal["value", "difference", "transfer"]
    training: str
    value: str
    against: str
    difference: str
    interval: str
    verdict: str
    item: Difference | None


def lines(comparison: Comparison) -> Iterator[tuple[str, str, list[Line]]]:
    """Task, metric and the lines of each: every config with its difference to the baseline, then the twin, and every
    config less the twin."""
    tasks: dict[str, dict[str, None]] = {}
    for training in comparison.trainings:
        for task, values in training.tasks.items():
            tasks.setdefault(task, {}).update(dict.fromkeys(values))
    for task, metrics in tasks.items():
        for metric in metrics:
            yield task, metric, _lines(comparison, task, metric)


def _lines(comparison: Comparison, task: str, metric: str) -> list[Line]:
    shown = [training for training in comparison.trainings if metric in training.tasks.get(task, {})]
    items = {item.of: item for item in comparison.differences if (item.task, item.metric) == (task, metric)}
    found = [_value_line(training, task, metric, items.get(training.name)) for training in shown]
    transfer = [item for item in comparison.transfer if (item.task, item.metric) == (task, metric)]
    return [*found, *(_difference_line("transfer", "", item, TRANSFER_WORDS) for item in transfer)]


def _value_line(training: Training, task: str, metric: str, item: Difference | None) -> Line:
    value = value_text(metric, training.tasks[task][metric].value)
    if item is None:
        name = training.name if training.twin_of is None else "its twin"
        return Line("value", name, value, "", "", "", "", None)
    return _difference_line("difference", value, item, {})


def _difference_line(
    kind: Literal["difference", "transfer"], value: str, item: Difference, words: dict[str, str]
) -> Line:
    return Line(
        kind=kind,
        training=item.of,
        value=value,
        against=item.against if kind == "difference" else "its twin",
        difference=signed(item.metric, item.difference, item.value),
        interval=interval(item),
        verdict=words.get(item.verdict, item.verdict),
        item=item,
    )


def signed(metric: str, value: float | None, scale: float | None) -> str:
    """A difference with its sign, in the digits in which a value like `scale` is shown, one more for shares."""
    if value is None:
        return ABSENT
    decimals = metric_info(metric).decimals
    text = value_text(metric, value, scale) if decimals is None else f"{value:.{decimals + 1}f}".replace("-", "−")
    zero = not any(digit in text for digit in "123456789")
    return text.lstrip("−") if zero else ("+" if value > 0 else "") + text


def interval(item: Difference) -> str:
    """Such as `+0.0101, +0.0145`; nothing where there is none."""
    if item.low is None or item.high is None:
        return ""
    return f"{signed(item.metric, item.low, item.value)}, {signed(item.metric, item.high, item.value)}"


def verdict_sentence(comparison: Comparison) -> str:
    """The comparison in a sentence."""
    said = []
    for training in comparison.trainings:
        if training.error is not None:
            said.append(f"{training.name} failed.")
    if comparison.transfer:
        for name in dict.fromkeys(item.of for item in comparison.transfer):
            harmed, helped = comparison.harmed.get(name, []), comparison.helped.get(name, [])
            words = [f"harms {', '.join(harmed)}"] if harmed else []
            words += [f"helps {', '.join(helped)}"] if helped else []
            said.append(f"Sharing in {name} {' and '.join(words) if words else 'neither harms nor helps any task'}.")
    better: dict[str, list[str]] = {}
    seen: set[tuple[str, str]] = set()
    for item in comparison.differences:
        if (item.of, item.task) not in seen and item.verdict == "better":
            better.setdefault(item.of, []).append(item.task)
        seen.add((item.of, item.task))
    for name, tasks in better.items():
        said.append(f"{name} beats {comparison.baseline.name} in {', '.join(tasks)}.")
    if comparison.differences and not better:
        said.append(f"No config beats {comparison.baseline.name} in any task.")
    return " ".join(said)


def method(comparison: Comparison) -> str:
    """How the numbers came about."""
    drawn = "rows" if comparison.resampled == "rows" else f"whole {comparison.resampled} groups"
    return (
        f"{comparison.rows:,} rows of {comparison.split}; each interval holds with {100 * comparison.confidence:g} % "
        f"by itself ({comparison.replicates} paired resamplings of {drawn}), for these trainings: another seed is not "
        "in it"
    )
