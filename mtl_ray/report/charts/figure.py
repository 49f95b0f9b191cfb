"""The look that all charts share, and how a matplotlib figure becomes markup inside the page.

Charts are drawn in the light palette. In SVG the colours are then replaced by the page's CSS variables, so that a
chart follows the reader's light or dark scheme, and text takes the page's font.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#1c2733"
MUTED = "#5d6a78"
RULE = "#d3dae1"
GRID = "#e9edf1"
PAPER = "#fefefe"
BLUE = "#0072b2"
ORANGE = "#dd8a00"
GREEN = "#00865f"

PALETTE = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    GRID: "--grid",
    PAPER: "--paper",
    BLUE: "--blue",
    ORANGE: "--orange",
    GREEN: "--green",
}
"""Colour drawn by matplotlib -> CSS variable of style.css. Blue, orange and green are told apart by readers with
any of the common colour-vision deficiencies (after Okabe and Ito, 2008)."""

LINE_COLOURS = (BLUE, ORANGE, GREEN, INK)
"""Of the lines of one chart, in order; further lines repeat them in another of LINE_DASHES."""
LINE_DASHES: dict[str, Any] = {"solid": "-", "dashed": (0, (4, 2)), "dotted": (0, (1, 1.2))}
"""CSS border style -> matplotlib's line style."""


@dataclass(frozen=True)
class LineStyle:
    """How the n-th of several lines looks, in a chart and in the page's key to it."""

    colour: str
    dash: str
    """Key of LINE_DASHES."""

    @classmethod
    def of(cls, position: int) -> LineStyle:
        """Different for the first twelve."""
        dashes = tuple(LINE_DASHES)
        turn, at = divmod(position, len(LINE_COLOURS))
        return cls(LINE_COLOURS[at], dashes[turn % len(dashes)])

    @property
    def variable(self) -> str:
        """The colour's CSS variable."""
        return PALETTE[self.colour]


MAX_SVG_BYTES = 200_000
"""A larger drawing is embedded as PNG: a browser would be slow with it and the file large."""

FONT_SIZE = 10.5

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mtl-ray",
    "text.parse_math": False,  # a class called "$" is no formula
    "font.family": "DejaVu Sans",
    "font.size": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "axes.labelcolor": MUTED,
    "axes.labelpad": 5,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 1,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 1,
    "text.color": INK,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "xtick.major.pad": 5,
    "ytick.major.pad": 5,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
    "lines.markersize": 5,
    "path.simplify": True,
}

_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_FONT = re.compile(r"font: (?:(?P<weight>bold|\d+) )?(?P<size>[\d.]+px)[^;\"]*")


def render(draw: Callable[[Figure], None], *, key: str, label: str, width: int, height: int) -> Markup:
    """Markup of the figure that `draw` fills: `width` x `height` CSS pixels at its natural size.

    `key` must be unique in the page (it prefixes every id in the SVG); `label` says for readers without sight what
    the chart shows. Equal input gives equal markup.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        figure.patch.set_visible(False)
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
        svg = _for_page(buffer.getvalue(), key, label)
        if len(svg.encode()) <= MAX_SVG_BYTES:
            return Markup(svg)
        return _png(figure, label, width, height)


def axes(figure: Figure, *, left: int = 50, right: int = 14, top: int = 12, bottom: int = 40, above: int = 0) -> Axes:
    """Axes with margins in CSS pixels; `above` leaves so many more pixels free at the top."""
    width, height = figure.get_size_inches() * 72
    box = (left / width, bottom / height, (width - left - right) / width, (height - top - above - bottom) / height)
    return figure.add_axes(box)


def note(axes: Axes, x: float, y: float, text: str, colour: str = INK, **options: Any) -> None:
    """Text at a place given in fractions of the axes."""
    axes.text(x, y, text, color=colour, transform=axes.transAxes, **options)


def _for_page(svg: str, key: str, label: str) -> str:
    svg = svg[svg.index("<svg") :]
    # matplotlib's <style> would apply to the whole page; style.css says the same for charts alone.
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    opening = svg[: svg.index(">") + 1]
    view_box = re.search(r'viewBox="([^"]+)"', opening)
    assert view_box is not None
    svg = svg[len(opening) :]
    svg = re.sub(r'\bid="([^"]*)"', rf'id="{key}-\1"', svg)
    svg = re.sub(r'xlink:href="#([^"]*)"', rf'href="#{key}-\1"', svg)
    svg = re.sub(r"url\(#([^)]*)\)", rf"url(#{key}-\1)", svg)
    svg = _FONT.sub(_font_size, svg)
    for colour, variable in PALETTE.items():
        svg = svg.replace(f": {colour}", f": var({variable})")
    return f'<svg class="chart" role="img" aria-label="{escape(label)}" viewBox="{view_box[1]}">{svg}'


def _font_size(match: re.Match[str]) -> str:
    weight = f"font-weight: {match['weight']}; " if match["weight"] else ""
    return f"{weight}font-size: {match['size']}"


def _png(figure: Figure, label: str, width: int, height: int) -> Markup:
    buffer = io.BytesIO()
    figure.patch.set_visible(True)
    figure.patch.set_facecolor("white")
    figure.savefig(buffer, format="png", dpi=144, metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Markup('<img class="chart" alt="{}" width="{}" height="{}" src="data:image/png;base64,{}">').format(
        label, width, height, data
    )
