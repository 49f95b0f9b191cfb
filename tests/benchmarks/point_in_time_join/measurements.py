"""Measuring all sides: which of them at which size, alternating, and the rows of the result."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.measure import Measured, measure
from tests.benchmarks.point_in_time_join.sides import BARE, OURS
from tests.benchmarks.results import say

_SIDES = "tests.benchmarks.point_in_time_join.sides"
_LIMIT_SECONDS = 1800.0
_MOST_ROWS = {"feast_dask": 1_000_000, "feast_ray": 1_000}
"""Sides that are not asked to join more than that."""
_ONE_ROUND = {"feast_dask": 100_000, "feast_ray": 0}
"""Sides that run in the first round alone above that many rows: they take minutes, and lose rows or values."""
TO_PARQUET = "ours_to_parquet"


@dataclass(frozen=True)
class Row:
    """All runs of one side on one data set."""

    spine: str
    rows: int
    side: str
    runs: tuple[Measured, ...]
    budget: str | None = None

    @property
    def error(self) -> str | None:
        """Of the first run that could not be measured."""
        return next((run.error for run in self.runs if run.error is not None), None)

    @property
    def seconds(self) -> tuple[float, ...]:
        """Of each run, in the order of the rounds; empty when a run failed."""
        return () if self.error else tuple(run.seconds for run in self.runs if run.seconds is not None)

    @property
    def peak_mb(self) -> float | None:
        """The highest of all runs."""
        return max((run.peak_mb for run in self.runs if run.peak_mb is not None), default=None)

    @property
    def imports_mb(self) -> float:
        """The highest of all runs."""
        return max((run.imports_mb for run in self.runs if run.imports_mb is not None), default=0.0)

    def worst(self, figure: str) -> int | None:
        """The largest number of rows `returned`, `lost`, `duplicated` or `wrong` in a run."""
        return max((run.figures[figure] for run in self.runs if figure in run.figures), default=None)

    @property
    def every_row(self) -> bool:
        """Whether each run returned each spine row once, right or wrong."""
        return self.error is None and self.worst("lost") == 0 and self.worst("duplicated") == 0

    def as_json(self) -> dict[str, Any]:
        """For the document."""
        found: dict[str, Any] = {"spine": self.spine, "rows": self.rows, "side": self.side}
        if self.budget is not None:
            found["memory_budget"] = self.budget
        if self.error is not None:
            return {**found, "error": self.error}
        return {
            **found,
            "seconds": median(self.seconds),
            "seconds_of_runs": list(self.seconds),
            "rows_per_second": self.rows / median(self.seconds),
            "peak_mb": self.peak_mb,
            "imports_mb": self.imports_mb,
            **{figure: self.worst(figure) for figure in ("returned", "lost", "duplicated", "wrong")},
            "wrong_values": max((run.figures["wrong_values"] for run in self.runs), key=len),
        }


def compare_sides(folder: Path, spine: str, rows: int, repeats: int, keep: bool) -> list[Row]:
    """Every side that takes `rows` rows, `repeats` rounds; in each round the sides take turns, from another one on."""
    sides = [
        side for side in (OURS, *BARE, "feast_duckdb", "feast_dask", "feast_ray") if rows <= _MOST_ROWS.get(side, rows)
    ]
    _prepare(folder, spine, rows)
    runs: dict[str, list[Measured]] = {side: [] for side in sides}
    for repeat in range(repeats):
        for side in [*sides[repeat % len(sides) :], *sides[: repeat % len(sides)]]:
            if any(run.error for run in runs[side]) or (repeat > 0 and rows > _ONE_ROUND.get(side, rows)):
                continue
            found = measure(f"{_SIDES}:join_side", _arguments(folder, spine, rows) | {"side": side}, _LIMIT_SECONDS)
            say(f"· {spine}, {rows:,} rows, round {repeat + 1} of {repeats}: {side} {_in_words(found)}", markup=False)
            runs[side].append(found)
    _remove(folder, spine, rows, keep)
    return [Row(spine, rows, side, tuple(found)) for side, found in runs.items()]


def measure_memory(folder: Path, spine: str, sizes: Sequence[int], budget: str, repeats: int, keep: bool) -> list[Row]:
    """Ours from Parquet to Parquet within `budget` at each of `sizes`."""
    runs: dict[int, list[Measured]] = {rows: [] for rows in sizes}
    for rows in sizes:
        _prepare(folder, spine, rows)
        for repeat in range(repeats):
            arguments = _arguments(folder, spine, rows) | {"budget": budget}
            found = measure(f"{_SIDES}:budget_side", arguments, _LIMIT_SECONDS)
            step = f"{spine}, {rows:,} rows, round {repeat + 1} of {repeats}"
            say(f"· {step}: {TO_PARQUET}, budget {budget}, {_in_words(found)}", markup=False)
            runs[rows].append(found)
        _remove(folder, spine, rows, keep)
    return [Row(spine, rows, TO_PARQUET, tuple(found), budget) for rows, found in runs.items()]


def _arguments(folder: Path, spine: str, rows: int) -> dict[str, Any]:
    return {"folder": str(folder), "kind": spine, "rows": rows}


def _prepare(folder: Path, spine: str, rows: int) -> None:
    found = measure(f"{_SIDES}:preparation", _arguments(folder, spine, rows))
    if found.error:
        raise RuntimeError(f"the data set of {rows} rows ({spine}) could not be prepared: {found.error}")
    say(f"· {spine}, {rows:,} rows: data, reference and registry in {found.seconds:.0f} s")


def _remove(folder: Path, spine: str, rows: int, keep: bool) -> None:
    if not keep:
        shutil.rmtree(folder / f"{spine}_{rows}")


def _in_words(run: Measured) -> str:
    if run.error is not None:
        return run.error
    figures = run.figures
    rows = f"{figures['lost']} lost, {figures['duplicated']} duplicated, {figures['wrong']} wrong"
    return f"{run.seconds:.2f} s, {run.peak_mb:,.0f} MB, {rows}"
