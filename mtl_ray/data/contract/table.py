"""The check of the data contract as a table for the terminal."""

from __future__ import annotations

from rich import box
from rich.markup import escape
from rich.table import Table

from mtl_ray.data.contract.result import ContractResult, Finding

MOST_ROWS = 12


def contract_table(result: ContractResult, every_finding: bool = False) -> Table:
    """What deserves attention (at most MOST_ROWS lines, or everything that was checked), and one line in all."""
    shown = result.findings if every_finding else (*result.of("stop"), *result.of("warn"))
    table = Table(
        title="data contract",
        caption=summary_line(result),
        header_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        show_header=bool(shown),
        padding=(0, 1, 0, 0),
    )
    table.add_column("", no_wrap=True)
    for title in ("subject", "rule", "found", "allowed"):
        table.add_column(title, overflow="fold")
    for finding in shown if every_finding else shown[:MOST_ROWS]:
        table.add_row(finding.severity, *(escape(text) for text in _cells(finding)), style=_STYLE[finding.severity])
    if len(shown) > MOST_ROWS and not every_finding:
        table.add_row("", f"and {len(shown) - MOST_ROWS} more", "", "see contract.json or the report", "")
    return table


_STYLE = {"stop": "bold red", "warn": "yellow", "ok": ""}


def _cells(finding: Finding) -> tuple[str, str, str, str]:
    return finding.subject, finding.rule, finding.found, finding.allowed


def summary_line(result: ContractResult) -> str:
    """The check in one sentence, such as `1,000 rows, 12 features, 3 views: 2 warnings; 5 rows quarantined`."""
    stops, warnings = len(result.of("stop")), len(result.of("warn"))
    verdict = ", ".join(
        f"{number} {word}{'s' if number > 1 else ''}"
        for number, word in ((stops, "stop"), (warnings, "warning"))
        if number
    )
    rows = sum(result.rows.values())
    kept = f"{rows:,} rows, {len(result.features)} features, {len(result.views)} views"
    return f"{kept}: {verdict or 'all in order'}; {result.quarantined:,} rows quarantined"
