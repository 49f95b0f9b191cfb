"""What issue 3 promises of the join, against what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from tests.benchmarks.point_in_time_join.measurements import TO_PARQUET, Row
from tests.benchmarks.point_in_time_join.sides import BARE, FEAST, OURS
from tests.benchmarks.results import Verdict

SPEED_ROWS = 1_000_000
"""The speed lines hold at that size; a run of other sizes shows its figures without a verdict."""
MEMORY_ROWS = 1_000_000
FEAST_RATIO = 4.0
BARE_RATIO = 1.5
MEMORY_RATIO = 1.2


def verdicts(rows: Sequence[Row], spines: Sequence[str]) -> tuple[Verdict, ...]:
    """One for each line."""
    return (_right(rows), *(verdict for spine in spines for verdict in _speed(rows, spine)), _memory(rows))


def _right(rows: Sequence[Row]) -> Verdict:
    ours = [row for row in rows if row.side in (OURS, TO_PARQUET)]
    failed = [row for row in ours if row.error is not None]
    counts = {figure: sum(row.worst(figure) or 0 for row in ours) for figure in ("lost", "duplicated", "wrong")}
    measured = ", ".join(f"{count:,} {figure}" for figure, count in counts.items())
    if failed:
        measured = f"{len(failed)} of {len(ours)} could not run: {failed[0].error}"
    return Verdict(
        line=f"ours: no row lost, duplicated or wrong; data sets: {len(ours)}",
        goal="0",
        measured=measured,
        met=bool(ours) and not failed and not any(counts.values()),
    )


def _speed(rows: Sequence[Row], spine: str) -> tuple[Verdict, Verdict]:
    size = _speed_size(rows, spine)
    here = {row.side: row for row in rows if row.spine == spine and row.rows == size and row.side != TO_PARQUET}
    complete = [here[side] for side in FEAST if side in here and here[side].every_row]
    feast = min(complete, key=lambda row: median(row.seconds), default=None)
    engines = [here[side] for side in BARE if side in here and here[side].every_row]
    bare = min(engines, key=lambda row: median(row.seconds), default=None)
    ours = here.get(OURS)
    faster = _ratio(feast, ours)
    slower = _ratio(ours, bare)
    counts = size == SPEED_ROWS
    at = f"{spine}, {SPEED_ROWS:,} rows"
    return (
        Verdict(
            line=f"{at}: ours against the fastest Feast store that returns every row",
            goal=f">= {FEAST_RATIO:g} x as fast",
            measured=None if faster is None or feast is None else f"{faster:.2f} x {feast.side}{_elsewhere(size)}",
            met=faster >= FEAST_RATIO if counts and faster is not None else None,
        ),
        Verdict(
            line=f"{at}: seconds of ours against the faster bare engine",
            goal=f"<= {BARE_RATIO:g} x",
            measured=None if slower is None or bare is None else f"{slower:.2f} x {bare.side}{_elsewhere(size)}",
            met=slower <= BARE_RATIO if counts and slower is not None else None,
        ),
    )


def _speed_size(rows: Sequence[Row], spine: str) -> int:
    sizes = {row.rows for row in rows if row.spine == spine and row.side == OURS}
    return SPEED_ROWS if SPEED_ROWS in sizes else max(sizes, default=0)


def _elsewhere(size: int) -> str:
    return "" if size == SPEED_ROWS else f" (at {size:,} rows)"


def _ratio(above: Row | None, below: Row | None) -> float | None:
    """Median of the ratio of the seconds over the rounds that both took part in."""
    if above is None or below is None or above.error or below.error:
        return None
    return median(mine / theirs for mine, theirs in zip(above.seconds, below.seconds, strict=False))


def _memory(rows: Sequence[Row]) -> Verdict:
    found = {row.rows: row for row in rows if row.side == TO_PARQUET and row.peak_mb is not None}
    pairs = [(found[size], found[4 * size]) for size in found if 4 * size in found]
    budget = next((row.budget for row in found.values()), "fixed")
    line = f"ours, Parquet to Parquet, budget {budget}: peak memory of 4 x {MEMORY_ROWS:,} rows"
    goal = f"<= {MEMORY_RATIO:g} x that of {MEMORY_ROWS:,}"
    if not pairs:
        return Verdict(line=line, goal=goal, measured=None, met=None)
    small, large = max(pairs, key=lambda pair: (pair[0].rows == MEMORY_ROWS, pair[0].rows))
    before, after = small.peak_mb or 0.0, large.peak_mb or 0.0
    ratio = after / before
    join = (after - large.imports_mb) / max(before - small.imports_mb, 1.0)
    measured = f"{ratio:.2f} x, {before:,.0f} -> {after:,.0f} MB ({join:.2f} x without what imports take)"
    counts = small.rows == MEMORY_ROWS
    return Verdict(
        line=line,
        goal=goal,
        measured=measured if counts else f"{measured} (at {small.rows:,} and {large.rows:,} rows)",
        met=ratio <= MEMORY_RATIO if counts else None,
    )
