"""All that the contract counts in some rows, but for the distributions; small whatever the number of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from mtl_ray.data.contract.feature_counts import ByPart, FeatureCounts, add_parts
from mtl_ray.data.contract.label_days import LabelDays
from mtl_ray.data.contract.view_counts import ViewCounts
from mtl_ray.schema import Settings


class ContractCounts(Settings):
    """Counts of some rows, such as a bucket's."""

    rows: ByPart
    """Rows that go on, by part."""
    quarantined: int
    """Rows that do not."""
    quarantine_reasons: dict[str, int]
    """Reason -> rows; a row with two reasons counts in both."""
    kept_reasons: dict[str, int]
    """Reason -> rows that go on although they break it."""
    features: dict[str, FeatureCounts]
    views: dict[str, ViewCounts]
    days: LabelDays

    @staticmethod
    def merged(parts: Sequence[ContractCounts]) -> ContractCounts:
        """Of all rows of `parts`, which is not empty."""
        first = parts[0]
        return ContractCounts(
            rows=add_parts(part.rows for part in parts),
            quarantined=sum(part.quarantined for part in parts),
            quarantine_reasons=_added(part.quarantine_reasons for part in parts),
            kept_reasons=_added(part.kept_reasons for part in parts),
            features={name: FeatureCounts.merged(part.features[name] for part in parts) for name in first.features},
            views={name: ViewCounts.merged(part.views[name] for part in parts) for name in first.views},
            days=LabelDays.merged(part.days for part in parts),
        )


def _added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
