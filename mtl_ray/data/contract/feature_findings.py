"""The rules on features: missing values, and drift from the training to the test part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mtl_ray.data.contract.config import ContractConfig, DriftRule
from mtl_ray.data.contract.psi import Psi
from mtl_ray.data.contract.result import FeatureSummary, Finding, Severity
from mtl_ray.data.contract.wording import share


def drift_severity(name: str, psi: Psi | None, rule: DriftRule) -> Severity:
    """How severe the drift of the feature `name` is."""
    if psi is None or psi.value <= psi.by_chance:
        return "ok"
    if psi.value > rule.features.get(name, rule.alarm):
        return rule.then
    return "warn" if name not in rule.features and psi.value > rule.warn else "ok"


def missing_findings(features: Sequence[FeatureSummary], config: ContractConfig) -> Iterator[Finding]:
    """Features that are missing too often in a part, and one line for the others."""
    good = []
    for feature in features:
        limit = config.missing.features.get(feature.name, config.missing.limit)
        shares = {part: found for part, found in feature.missing.items() if found is not None}
        over = {part: found for part, found in shares.items() if found > limit}
        if not over:
            good.append((max(shares.values(), default=0.0), feature.name))
            continue
        yield Finding(
            severity=config.missing.then,
            subject=feature.name,
            rule="missing",
            found=", ".join(f"{share(found)} of {part}" for part, found in over.items()),
            allowed=f"at most {share(limit)}",
            fix="complete the source, leave the feature out, or raise training_set.contract.missing",
        )
    worst = max(good, default=(0.0, ""))
    detail = f"at most {share(worst[0])} of a part missing ({worst[1]})" if worst[0] else "nothing missing"
    yield from Finding.in_order(len(good), "feature", "missing", detail, f"at most {share(config.missing.limit)}")


def drift_findings(features: Sequence[FeatureSummary], rule: DriftRule) -> Iterator[Finding]:
    """Features that drifted, the most first, and one line for the others."""
    judged = [(feature.psi, feature) for feature in features if feature.psi is not None]
    good = []
    for psi, feature in sorted(judged, key=lambda item: -item[0]):
        if feature.drift == "ok":
            good.append((psi, feature.name))
            continue
        alarm = rule.features.get(feature.name, rule.alarm)
        yield Finding(
            severity=feature.drift,
            subject=feature.name,
            rule="drift",
            found=f"PSI {psi:.3f} from train to test",
            allowed=f"{alarm if psi > alarm else rule.warn:g}",
            fix=_drift_fix(feature),
        )
    if good:
        psi, name = max(good)
        yield from Finding.in_order(len(good), "feature", "drift", f"PSI at most {psi:.3f} ({name})", f"{rule.warn:g}")


def _drift_fix(feature: FeatureSummary) -> str:
    train, test = feature.missing["train"], feature.missing["test"]
    if train is not None and test is not None and abs(test - train) > 0.05:
        return f"it is missing in {share(train)} of train and {share(test)} of test: is the source complete?"
    if feature.encoding == "numeric":
        return "train on more recent rows, or use what does not grow with time (a rate instead of a count)"
    return "train on more recent rows: the test part has other values"
