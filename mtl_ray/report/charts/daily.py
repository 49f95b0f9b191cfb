"""Labels by day: the mean of one task's label, or the share of each class."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, PercentFormatter

from mtl_ray.report.charts.figure import BLUE, GREEN, INK, ORANGE, RULE, axes, note, render

WIDTH, HEIGHT = 340, 224
PART_COLOURS = (BLUE, ORANGE, GREEN)
"""Of train, validation and test, as in the page's timeline."""
MOST_CLASSES = 4

_CLASS_COLOURS = (BLUE, ORANGE, GREEN, INK)
_MOST_MARKERS = 62


def label_rate(
    days: Sequence[date],
    means: Sequence[float | None],
    parts: Sequence[int],
    *,
    share: bool,
    key: str,
    label: str,
) -> Markup:
    """Mean label of each day. `parts`: which part most of the day's rows belong to, 0 to 2; `share`: in per cent."""

    def draw(figure: Figure) -> None:
        panel = axes(figure, left=58)
        x, y = _points(days, means)
        panel.plot(x, y, color=RULE, linewidth=1.5)
        size = 5.0 if len(days) <= _MOST_MARKERS else 2.5
        for part, colour in enumerate(PART_COLOURS):
            own = np.array([at == part for at in parts])
            panel.plot(x[own], y[own], "o", color=colour, markersize=size)
        _days(panel, days)
        _values(panel, y, share)
        panel.set_ylabel("label rate" if share else "mean label")

    return render(draw, key=key, label=label, width=WIDTH, height=HEIGHT)


def class_rates(
    days: Sequence[date], shares: Sequence[Sequence[float] | None], classes: Sequence[str], *, key: str, label: str
) -> Markup:
    """Share of each class by day, of the MOST_CLASSES most frequent ones."""

    def draw(figure: Figure) -> None:
        panel = axes(figure, left=58, above=18)
        known = np.array([share for share in shares if share is not None])
        order = np.argsort(-known.mean(axis=0), kind="stable")[:MOST_CLASSES].tolist()
        along = 0.0
        for colour, place in zip(_CLASS_COLOURS, order, strict=False):
            x, y = _points(days, [None if share is None else share[place] for share in shares])
            panel.plot(x, y, color=colour, marker="o" if len(days) <= _MOST_MARKERS else None, markersize=3)
            name = classes[place] if len(classes[place]) <= 12 else f"{classes[place][:11]}…"
            note(panel, along, 1.03, f"● {name}", colour)
            along += 0.09 + 0.024 * len(name)
        _days(panel, days)
        _values(panel, known.ravel(), share=True)
        panel.set_ylabel("share of the labels")

    return render(draw, key=key, label=label, width=WIDTH, height=HEIGHT)


def _points(days: Sequence[date], values: Sequence[float | None]) -> tuple[np.ndarray, np.ndarray]:
    """Days since the first one and values, float64, NaN where there is none, which interrupts a line."""
    x = np.array([(day - days[0]).days for day in days], dtype=float)
    return x, np.array([np.nan if value is None else value for value in values], dtype=float)


def _days(panel: Axes, days: Sequence[date]) -> None:
    span = (days[-1] - days[0]).days
    margin = 0.04 * span or 0.5
    panel.set_xlim(-margin, span + margin)
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    pattern = "%m-%d" if span < 300 else "%Y-%m"

    def text(place: float, _: object = None) -> str:
        inside = 0 <= place <= span and place == int(place)
        return (days[0] + timedelta(days=int(place))).strftime(pattern) if inside else ""

    panel.xaxis.set_major_formatter(FuncFormatter(text))
    panel.set_xlabel("day (UTC)" if span < 300 else "month (UTC)")


def _values(panel: Axes, values: np.ndarray, share: bool) -> None:
    values = values[np.isfinite(values)]
    top = float(values.max()) if values.size else 1.0
    low = float(values.min()) if values.size else 0.0
    if low >= 0.0:
        panel.set_ylim(0.0, 1.15 * top or 1.0)
    panel.yaxis.set_major_locator(MaxNLocator(5))
    if share:
        panel.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None, symbol=" %"))
    elif top >= 1000:
        panel.yaxis.set_major_formatter(EngFormatter(sep=""))
