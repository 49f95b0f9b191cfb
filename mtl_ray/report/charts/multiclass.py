"""Diagrams of a multiclass task: confusion heat map and how often each class occurs and is predicted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axis import Axis
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from mtl_ray.report.charts.figure import BLUE, INK, ORANGE, PAPER, RULE, axes, note, render

WIDTH, HEIGHT = 320, 320
MOST_NUMBERED = 10
"""With more classes the cells are too small for a number."""
LONGEST_NAME = 9
MOST_NAMED = 16


def confusion_map(counts: np.ndarray, classes: Sequence[str], *, key: str, label: str) -> Markup:
    """Heat map of rows by observed (down) and predicted (across) class, `[C, C]`, as shares of each row."""
    size = len(classes)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts, dtype=float), where=totals > 0)

    def draw(figure: Figure) -> None:
        panel = axes(figure, left=70, right=8, top=6, bottom=46)
        panel.grid(visible=False)
        cells = [Rectangle((column - 0.48, row - 0.48), 0.96, 0.96) for row, column in np.ndindex(size, size)]
        colours = [to_rgba(BLUE, 0.04 + 0.96 * share) for share in shares.ravel()]
        panel.add_collection(PatchCollection(cells, facecolors=colours, edgecolors="none"))
        if size <= MOST_NUMBERED:
            for (row, column), share in np.ndenumerate(shares):
                colour = PAPER if share > 0.7 else INK
                panel.text(column, row, f"{100 * share:.0f}", color=colour, ha="center", va="center")
        panel.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xlabel="predicted", ylabel="observed")
        _name(panel.xaxis, classes, upright=size > 5)
        _name(panel.yaxis, classes, upright=False)
        for spine in panel.spines.values():
            spine.set_visible(False)

    return render(draw, key=key, label=label, width=WIDTH, height=HEIGHT)


def class_shares(counts: np.ndarray, classes: Sequence[str], *, key: str, label: str) -> Markup:
    """Share of each class among the labels and among the predictions, from the `[C, C]` confusion counts."""
    total = counts.sum() or 1.0
    observed, predicted = counts.sum(axis=1) / total, counts.sum(axis=0) / total

    def draw(figure: Figure) -> None:
        panel = axes(figure, left=70, above=18)
        places = range(len(classes))
        panel.hlines(places, observed, predicted, color=RULE, linewidth=5)
        panel.plot(observed, places, "o", color=ORANGE, markersize=8)
        panel.plot(predicted, places, "o", color=BLUE, markersize=5)
        panel.set(ylim=(len(classes) - 0.5, -0.5), xlabel="share of the rows")
        panel.set_xlim(0, 1.12 * float(max(observed.max(), predicted.max(), 0.01)))
        _name(panel.yaxis, classes, upright=False)
        panel.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        panel.grid(visible=False, axis="y")
        note(panel, 0, 1.03, "● predicted", BLUE)
        note(panel, 0.36, 1.03, "● observed", ORANGE)

    return render(draw, key=key, label=label, width=WIDTH, height=HEIGHT)


def _name(axis: Axis, classes: Sequence[str], *, upright: bool) -> None:
    every = 1 + (len(classes) - 1) // MOST_NAMED
    places = list(range(0, len(classes), every))
    names = [classes[place] for place in places]
    shown = [name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…" for name in names]
    axis.set_ticks(places, shown)
    if upright and max((len(name) for name in shown), default=0) > 3:
        axis.set_tick_params(labelrotation=35)
