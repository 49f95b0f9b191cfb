"""What issue 5 promises of the tables: that they are shown, whatever they say. Measured is who harms whom."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.balancing_quality.rendering import compared
from tests.benchmarks.balancing_quality.tables import Table
from tests.benchmarks.results import Verdict

SEEDS = 3


def verdicts(tables: Sequence[Table], whole: bool) -> tuple[Verdict, ...]:
    """One a table and row that it compares with; without `whole` (fewer methods, seeds or rows) none is met."""
    return tuple(_verdict(table, name, whole) for table in tables for name in table.against)


def _verdict(table: Table, against: str, whole: bool) -> Verdict:
    failed = [row.method for row in table.rows if row.error is not None]
    harmed: list[str] = []
    helped: list[str] = []
    intervals = 0
    for row in table.rows:
        signs = {}
        for column in table.columns:
            gap = compared(table, row, against, column)
            if gap is not None and gap.low is not None:
                intervals += 1
                signs[column] = gap.sign
        for found, sign in ((harmed, -1), (helped, 1)):
            columns = [column for column, own in signs.items() if own == sign]
            if columns:
                found.append(f"{row.method} ({', '.join(columns)})")
    parts = [
        f"{intervals} intervals",
        f"harm: {', '.join(harmed) or 'none'}",
        f"gain: {', '.join(helped) or 'none'}",
        *([f"failed: {', '.join(failed)}"] if failed else []),
    ]
    return Verdict(
        line=f"{table.name}: every method against {against}",
        goal=f"shown, at least {SEEDS} seeds",
        measured="; ".join(parts),
        met=not failed if whole else None,
    )
