"""What the check of the data contract found: a document that is saved as JSON and shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Literal

from mtl_ray.errors import DataError
from mtl_ray.schema import Settings

CONTRACT_FILE = "contract.json"

Severity = Literal["ok", "warn", "stop"]


class Finding(Settings):
    """One rule at one subject, or at all subjects that keep it."""

    severity: Severity
    subject: str
    rule: str
    found: str
    allowed: str
    fix: str | None = None

    @classmethod
    def in_order(cls, subjects: int, noun: str, rule: str, found: str, allowed: str) -> Iterator[Finding]:
        """One finding for all subjects that keep a rule, none where there is no such subject."""
        if subjects:
            name = f"{subjects:,} {noun}{'s' if subjects > 1 else ''}"
            yield cls(severity="ok", subject=name, rule=rule, found=found, allowed=allowed)


class FeatureSummary(Settings):
    """One feature over all rows that go on."""

    name: str
    view: str | None
    """None for join keys and context columns."""
    encoding: str
    type: str
    """Arrow type of the column."""
    declared: str
    """Feast's type."""
    missing: dict[str, float | None]
    """Part -> share of its rows without a value; None for a part without rows."""
    minimum: float | None
    """Of all parts' numbers; None for categories and lists."""
    maximum: float | None
    allowed: tuple[float | None, float | None]
    psi: float | None
    """From the training to the test part; None where one of them is empty or cannot be read."""
    psi_by_chance: float | None
    """A smaller PSI is no drift: see `psi`."""
    drift: Severity


class ViewSummary(Settings):
    """One feature view over all rows that go on."""

    name: str
    empty: float | None
    """Share of the rows in which every feature of the view is missing; None where the model reads none directly."""
    matched: float | None
    """Share of the rows that met a feature row; None where the join does not say."""
    age_min: float | None
    """Seconds from the feature row's event to the example's; None where the join does not say."""
    age_median: float | None
    age_p99: float | None
    age_max: float | None
    ttl: float | None
    """Seconds after which the view's rows are not joined any more."""


class TaskDays(Settings):
    """One task's labels; one entry for each of the result's days."""

    observed: tuple[int, ...]
    mean: tuple[float | None, ...]
    """Mean label; None on a day without labels, and for classes."""
    classes: tuple[str, ...] = ()
    shares: tuple[tuple[float, ...] | None, ...] = ()
    """Multiclass: share of each class; None on a day without labels."""


class ContractResult(Settings):
    """The check of one training set."""

    rows: dict[str, int]
    """Part -> rows that go on."""
    quarantined: int
    """Rows that went to the quarantine file."""
    reasons: dict[str, int]
    """Reason -> rows in quarantine, most first; a row with two reasons counts in both."""
    features: tuple[FeatureSummary, ...]
    views: tuple[ViewSummary, ...]
    days: tuple[date, ...]
    """UTC days with rows, rising."""
    rows_by_day: dict[str, tuple[int, ...]]
    """Part -> rows of each day."""
    tasks: dict[str, TaskDays]
    findings: tuple[Finding, ...]
    """Those that stop first, then those that warn, then what was checked and found in order."""

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity == severity)

    def write(self, folder: Path) -> Path:
        """Write `<folder>/contract.json`; returns its path. Raises `OSError` where the disk does not take it."""
        path = folder / CONTRACT_FILE
        path.write_text(self.model_dump_json(indent=1))
        return path


def check(result: ContractResult, quarantine: Path | None = None) -> None:
    """Raise `DataError` naming every finding that stops the run. `quarantine`: where the broken rows lie."""
    stops = result.of("stop")
    if not stops:
        return
    several = f"{len(stops)} rules of the data contract are broken" if len(stops) > 1 else "The data contract is broken"
    fixes = list(dict.fromkeys(finding.fix for finding in stops if finding.fix))
    if quarantine is not None and result.quarantined:
        fixes.append(f"the quarantined rows lie in {quarantine}")
    raise DataError(
        f"{several}, so nothing is trained on these rows.",
        where="training_set.contract",
        found=_lines(f"{finding.subject}: {finding.rule}, {finding.found}" for finding in stops),
        allowed=_lines(dict.fromkeys(finding.allowed for finding in stops)),
        fix=_lines(fixes) or None,
    )


def _lines(items: Iterable[str]) -> str:
    """One a line, below each other in the message of a `UserError`."""
    return ("\n" + 11 * " ").join(items)
