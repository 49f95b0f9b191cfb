"""Matrices of numbers on coloured ground, which `heat.html` draws."""

from __future__ import annotations

from dataclasses import dataclass

from mtl_ray.report.formatting import ABSENT, decimal


@dataclass(frozen=True)
class HeatCell:
    """A number on a coloured ground."""

    text: str
    note: str | None
    sign: str
    """Which colour: `plus`, `minus` or none."""
    strength: float
    """Of the colour, 0 to 100."""


@dataclass(frozen=True)
class HeatTable:
    """A matrix of numbers."""

    title: str
    note: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]


def cosine_cell(value: float | None, *, diagonal: bool, note: str | None = None) -> HeatCell:
    """A cosine, coloured by its sign and size; without colour on the diagonal, where it is 1 by definition."""
    if value is None or diagonal:
        return HeatCell(ABSENT if value is None else decimal(value, 2), None, "", 0.0)
    return HeatCell(decimal(value, 2), note, "plus" if value > 0 else "minus", round(100 * min(abs(value), 1.0), 1))
