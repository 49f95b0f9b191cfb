"""Diagrams of a binary task: ROC curve and reliability diagram."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from mtl_ray.report.charts.figure import BLUE, GREEN, MUTED, axes, note, render

WIDTH, HEIGHT = 320, 320
DASHED = (0, (4, 3))


def roc_curve(
    false_positive: Sequence[float],
    true_positive: Sequence[float],
    *,
    auc: str | None,
    attainable: str | None,
    key: str,
    label: str,
) -> Markup:
    """True-positive against false-positive rate at every threshold; the AUCs are given as they shall read."""

    def draw(figure: Figure) -> None:
        panel = axes(figure, left=46)
        panel.fill_between(false_positive, true_positive, color=BLUE, alpha=0.08, linewidth=0)
        panel.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=DASHED)
        panel.plot(false_positive, true_positive, color=BLUE)
        panel.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="false positive rate", ylabel="true positive rate")
        lines = [("chance 0.500", MUTED, "normal")]
        if attainable is not None:
            lines.insert(0, (f"attainable {attainable}", GREEN, "normal"))
        if auc is not None:
            lines.insert(0, (f"AUC {auc}", BLUE, "bold"))
        for line, (text, colour, weight) in enumerate(reversed(lines)):
            note(panel, 0.96, 0.05 + 0.075 * line, text, colour, ha="right", fontweight=weight)

    return render(draw, key=key, label=label, width=WIDTH, height=HEIGHT)


def reliability_diagram(
    predicted: Sequence[float], observed: Sequence[float], rows: Sequence[float], *, key: str, label: str
) -> Markup:
    """Observed rate against mean prediction of each bin with its 95 % (Wilson) interval, and the bins' rows below."""
    bins = [
        (p, o, n)
        for p, o, n in zip(predicted, observed, rows, strict=True)
        if n > 0 and math.isfinite(p) and math.isfinite(o)
    ]

    def draw(figure: Figure) -> None:
        upper = axes(figure, left=46, bottom=110)
        lower = axes(figure, left=46, top=226)
        if not bins:
            return
        p, o, n = (np.array(column, dtype=float) for column in zip(*bins, strict=True))
        low, high = wilson_interval(o, n)
        # Bins of a handful of rows say nothing; they must not decide the range that is shown.
        firm = n >= min(30.0, n.max())
        limit = min(1.0, 1.08 * float(max(p.max(), o[firm].max(), high[firm & (p <= p[firm].max())].max())))
        upper.plot([0, limit], [0, limit], color=MUTED, linewidth=1, linestyle=DASHED)
        upper.vlines(p, low, high, color=BLUE, linewidth=1.5, alpha=0.45)
        upper.plot(p[firm], o[firm], color=BLUE, marker="o")
        if not firm.all():
            upper.plot(p[~firm], o[~firm], "o", color=BLUE, markerfacecolor="none", markersize=4)
        upper.set(xlim=(0, limit), ylim=(0, limit), ylabel="observed rate")
        upper.tick_params(labelbottom=False)
        for axis in (upper.xaxis, upper.yaxis, lower.xaxis):
            axis.set_major_locator(MaxNLocator(5))
        note(upper, 0.03, 0.97, "observed more often than predicted", MUTED, va="top", fontsize=9.5)
        note(upper, 0.97, 0.04, "less often", MUTED, ha="right", fontsize=9.5)
        lower.bar(p, n, width=limit / 26, color=BLUE, alpha=0.55)
        lower.set_yscale("log")
        lower.set(xlim=(0, limit), ylim=(0.7, float(n.max()) * 2), xlabel="predicted probability", ylabel="rows")
        lower.yaxis.set_major_locator(LogLocator(numticks=4))
        lower.yaxis.set_major_formatter(EngFormatter(sep=""))
        lower.yaxis.set_minor_locator(NullLocator())
        lower.yaxis.set_minor_formatter(NullFormatter())
        lower.grid(visible=False, axis="x")

    return render(draw, key=key, label=label, width=WIDTH, height=HEIGHT)


def wilson_interval(rate: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of a proportion (Wilson, JASA 1927); `rate` and `rows` are arrays of one shape, rows > 0."""
    z = 1.959963984540054
    centre = (rate + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * np.sqrt(rate * (1 - rate) / rows + z * z / (4 * rows * rows))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
