"""Diagrams of a regression task: predicted against observed, by decile of the prediction."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from mtl_ray.report.charts.figure import BLUE, MUTED, ORANGE, RULE, axes, note, render

WIDTH, HEIGHT = 320, 320


def predicted_against_observed(
    predicted: Sequence[float], observed: Sequence[float], *, key: str, label: str
) -> Markup:
    """Mean observed against mean predicted label of each group of rows, in label units."""

    def draw(figure: Figure) -> None:
        panel = axes(figure, left=54)
        values = [*predicted, *observed]
        low, high = min(values), max(values)
        margin = 0.06 * (high - low) or 0.5
        limits = (low - margin, high + margin)
        panel.plot(limits, limits, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        panel.plot(predicted, observed, color=BLUE, marker="o")
        panel.set(xlim=limits, ylim=limits, xlabel="mean predicted", ylabel="mean observed")
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(MaxNLocator(5))
            if high >= 1000:
                axis.set_major_formatter(EngFormatter(sep=""))
        note(panel, 0.03, 0.97, "observed larger than predicted", MUTED, va="top", fontsize=9.5)
        note(panel, 0.97, 0.04, "smaller", MUTED, ha="right", fontsize=9.5)

    return render(draw, key=key, label=label, width=WIDTH, height=HEIGHT)


def by_decile(predicted: Sequence[float], observed: Sequence[float], *, key: str, label: str) -> Markup:
    """Both means of each tenth of the rows, ordered by prediction: how far apart they are, and where."""

    def draw(figure: Figure) -> None:
        panel = axes(figure, left=54, above=18)
        places = range(1, len(predicted) + 1)
        panel.vlines(places, predicted, observed, color=RULE, linewidth=5)
        panel.plot(places, observed, "o", color=ORANGE, markersize=8)
        panel.plot(places, predicted, "o", color=BLUE, markersize=5)
        panel.set(xlabel="tenth of the rows, by prediction", ylabel="label")
        panel.set_xticks(list(places))
        panel.margins(y=0.08)
        panel.yaxis.set_major_locator(MaxNLocator(6))
        if max([*predicted, *observed]) >= 1000:
            panel.yaxis.set_major_formatter(EngFormatter(sep=""))
        panel.grid(visible=False, axis="x")
        note(panel, 0, 1.03, "● predicted", BLUE)
        note(panel, 0.32, 1.03, "● observed", ORANGE)

    return render(draw, key=key, label=label, width=WIDTH, height=HEIGHT)
