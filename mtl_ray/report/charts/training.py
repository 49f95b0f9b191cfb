"""Curves over the course of training: losses, validation metrics, throughput, learning rate, and tasks compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from mtl_ray.report.charts.figure import (
    BLUE,
    GREEN,
    INK,
    LINE_DASHES,
    MUTED,
    ORANGE,
    PAPER,
    LineStyle,
    axes,
    note,
    render,
)

WIDTH, HEIGHT = 340, 224
MAX_POINTS = 240
"""A line in a chart of 340 pixels shows no more; longer series are averaged in equal groups."""

Series = tuple[Sequence[float], Sequence[float]]
"""Epochs (fractional, 1 = end of the first epoch) and values, of equal length."""


def loss_curve(steps: Series, train: Series, validation: Series, *, best: float | None, key: str, label: str) -> Markup:
    """Training loss by step (thin) and epoch, validation loss by epoch, the best epoch marked."""

    def draw(figure: Figure) -> None:
        panel = axes(figure)
        x, y = _grouped(steps)
        if len(x) > 1:
            panel.plot(x, y, color=ORANGE, linewidth=1, alpha=0.5)
        if len(train[0]):
            panel.plot(*train, color=ORANGE, marker="o")
        if len(validation[0]):
            panel.plot(*validation, color=BLUE, marker="o")
        _epochs(panel, steps, train, validation)
        _range(panel, y, train[1], validation[1])
        _mark(panel, best)
        panel.set_ylabel("loss")

    return render(draw, key=key, label=label, width=WIDTH, height=HEIGHT)


def metric_curve(validation: Series, *, best: float | None, text: str | None, key: str, label: str) -> Markup:
    """One validation metric by epoch; `text` is its value at the best epoch as it shall read."""

    def draw(figure: Figure) -> None:
        panel = axes(figure)
        panel.plot(*validation, color=BLUE, marker="o")
        _epochs(panel, validation)
        panel.margins(y=0.3)
        _mark(panel, best)
        if best is not None and text is not None and best in validation[0]:
            at = list(validation[0]).index(best)
            panel.plot([best], [validation[1][at]], "o", color=BLUE, markersize=9)
            low, high = panel.get_ylim()
            above = validation[1][at] >= (low + high) / 2
            panel.annotate(
                text,
                (best, validation[1][at]),
                xytext=(0, 10 if above else -10),
                textcoords="offset points",
                ha=_inside(best, panel),
                va="bottom" if above else "top",
                fontweight="bold",
                bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.5},
            )

    return render(draw, key=key, label=label, width=WIDTH, height=HEIGHT)


def rate_curve(steps: Series, *, unit: str, median: bool, key: str, label: str) -> Markup:
    """A quantity by step that starts at zero, as throughput or the learning rate."""

    def draw(figure: Figure) -> None:
        panel = axes(figure, left=58)
        x, y = _grouped(steps)
        panel.plot(x, y, color=GREEN, linewidth=1.5, marker="o" if len(x) < 3 else None)
        _epochs(panel, steps)
        panel.set_ylim(0, (max(y) if len(y) else 1.0) * (1.35 if median else 1.12) or 1.0)
        panel.yaxis.set_major_locator(MaxNLocator(5))
        if panel.get_ylim()[1] >= 1000:
            panel.yaxis.set_major_formatter(EngFormatter(sep=""))
        else:
            panel.yaxis.set_major_formatter("{x:g}")
        panel.set_ylabel(unit)
        if median and len(y):
            middle = float(np.median(steps[1]))
            panel.axhline(middle, color=INK, linewidth=1, linestyle=(0, (4, 3)))
            note(panel, 0.98, 0.96, f"dashed: median {middle:,.0f}", ha="right", va="top")

    return render(draw, key=key, label=label, width=WIDTH, height=HEIGHT)


def task_curves(lines: Sequence[tuple[LineStyle, Series]], *, unit: str, key: str, label: str) -> Markup:
    """A quantity by step, one line a task. The key to the lines stands beside the chart, where it covers none."""

    def draw(figure: Figure) -> None:
        panel = axes(figure)
        for style, steps in lines:
            x, y = _grouped(steps)
            panel.plot(
                x,
                y,
                color=style.colour,
                linestyle=LINE_DASHES[style.dash],
                linewidth=1.5,
                marker="o" if len(x) < 3 else None,
            )
        _epochs(panel, *(steps for _, steps in lines))
        panel.set_ylabel(unit)

    return render(draw, key=key, label=label, width=WIDTH, height=HEIGHT)


def _grouped(series: Series) -> tuple[np.ndarray, np.ndarray]:
    """The series as arrays of at most MAX_POINTS means of neighbours."""
    x, y = np.asarray(series[0], dtype=float), np.asarray(series[1], dtype=float)
    if len(x) <= MAX_POINTS:
        return x, y
    starts = np.linspace(0, len(x), MAX_POINTS, endpoint=False).astype(int)
    sizes = np.diff(np.append(starts, len(x)))
    return np.add.reduceat(x, starts) / sizes, np.add.reduceat(y, starts) / sizes


def _epochs(panel: Axes, *series: Series) -> None:
    places = [x for points, _ in series for x in points]
    last = max(places, default=1.0)
    first = min(places, default=0.0)
    start = 0.0 if first < 1 or last <= 1 else 1.0
    margin = 0.04 * max(last - start, 0.5)
    panel.set_xlim(start - margin, last + margin)
    panel.xaxis.set_major_locator(MaxNLocator(6, integer=last >= 2, min_n_ticks=2))
    panel.set_xlabel("epoch")
    panel.yaxis.set_major_locator(MaxNLocator(5))


def _inside(place: float, panel: Axes) -> str:
    """Alignment that keeps a text at `place` within the axes."""
    low, high = panel.get_xlim()
    share = (place - low) / (high - low)
    return "left" if share < 0.1 else "right" if share > 0.9 else "center"


def _range(panel: Axes, steps: Sequence[float] | np.ndarray, *others: Sequence[float]) -> None:
    """A range that the first few steps, whose loss is often several times larger, do not stretch."""
    values = [value for series in others for value in series]
    if len(steps):
        values.extend(np.quantile(steps, [0.01, 0.97]).tolist())
    if not values:
        return
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 0.05
    panel.set_ylim(low - margin, high + margin)


def _mark(panel: Axes, best: float | None) -> None:
    if best is None:
        return
    panel.axvline(best, color=MUTED, linewidth=1, linestyle=(0, (3, 3)), zorder=0.9)
