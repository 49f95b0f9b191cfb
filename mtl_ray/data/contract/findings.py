"""The rules of the contract, applied to a result: what deserves attention, and what was checked and found in order."""

from __future__ import annotations

from collections.abc import Iterator

from mtl_ray.data.contract.config import ContractConfig
from mtl_ray.data.contract.counts import ContractCounts
from mtl_ray.data.contract.feature_findings import drift_findings, missing_findings
from mtl_ray.data.contract.label_findings import label_findings
from mtl_ray.data.contract.result import ContractResult, Finding, Severity
from mtl_ray.data.contract.view_findings import freshness_findings, is_unmatched, leak_findings, match_findings
from mtl_ray.data.contract.wording import listed, share
from mtl_ray.data.service_spec import ServiceSpec

_ORDER: tuple[Severity, ...] = ("stop", "warn", "ok")


def all_findings(
    result: ContractResult, counts: ContractCounts, spec: ServiceSpec, config: ContractConfig
) -> tuple[Finding, ...]:
    """The findings on `result` (whose own are still empty), the severest first."""
    unmatched = {view.name for view in result.views if is_unmatched(view, config)}
    found = [
        *_row_findings(result, counts, config),
        *_type_findings(result, counts, config),
        *match_findings(result.views, unmatched, spec, config),
        *leak_findings(result.views),
        *missing_findings([feature for feature in result.features if feature.view not in unmatched], config),
        *freshness_findings(result.views, spec, config),
        *drift_findings([feature for feature in result.features if feature.view not in unmatched], config.drift),
        *label_findings(result, config.label_rates),
    ]
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.severity)))


def _row_findings(result: ContractResult, counts: ContractCounts, config: ContractConfig) -> Iterator[Finding]:
    total = sum(result.rows.values()) + result.quarantined
    part = result.quarantined / total if total else 0.0
    severity: Severity = "warn" if result.quarantined else "ok"
    allowed, fix = f"at most {share(config.max_quarantined)}", None
    if part > config.max_quarantined:
        severity = "stop"
        fix = "correct the source or the range; training_set.contract.max_quarantined admits more"
    elif result.quarantined and config.broken_rows == "stop":
        severity, allowed = "stop", "none (training_set.contract.broken_rows: stop)"
        fix = "correct the rows, or quarantine them with training_set.contract.broken_rows=quarantine"
    reasons = [f"{reason} ({rows:,})" for reason, rows in result.reasons.items()]
    found = f"{result.quarantined:,} of {total:,} rows quarantined ({share(part)})"
    found = f"{found}: {listed(reasons)}" if reasons else found
    yield Finding(severity=severity, subject="rows", rule="row rules", found=found, allowed=allowed, fix=fix)
    for reason, rows in counts.kept_reasons.items():
        yield Finding(
            severity="warn",
            subject="rows",
            rule="row rules",
            found=f"{rows:,} rows that stay in: {reason}",
            allowed="none",
            fix="training_set.contract.broken_rows=quarantine leaves them out",
        )


def _type_findings(result: ContractResult, counts: ContractCounts, config: ContractConfig) -> Iterator[Finding]:
    wrong = [feature for feature in result.features if not counts.features[feature.name].fits]
    for feature in wrong:
        yield Finding(
            severity=config.types,
            subject=feature.name,
            rule="type",
            found=f"a column of type {feature.type}",
            allowed=feature.declared,
            fix="write the source with the declared type, or correct the Field's dtype and run `feast apply`",
        )
    yield from Finding.in_order(len(result.features) - len(wrong), "feature", "type", "fits the feature service", "")
