"""From the states of all buckets to the result of the check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from mtl_ray.data.contract.config import ContractConfig
from mtl_ray.data.contract.counts import ContractCounts
from mtl_ray.data.contract.exact_sum import from_exact
from mtl_ray.data.contract.feature_counts import Distribution, FeatureCounts
from mtl_ray.data.contract.feature_findings import drift_severity
from mtl_ray.data.contract.findings import all_findings
from mtl_ray.data.contract.label_days import DayLabels
from mtl_ray.data.contract.names import view_names
from mtl_ray.data.contract.psi import Psi, category_psi, number_psi
from mtl_ray.data.contract.result import ContractResult, FeatureSummary, TaskDays, ViewSummary
from mtl_ray.data.contract.state import ContractState, merged_distributions
from mtl_ray.data.contract.types import declared_type
from mtl_ray.data.contract.view_counts import ViewCounts
from mtl_ray.data.distributions import CategoryCounts, NumberDistribution
from mtl_ray.data.service_spec import FeatureSpec, ServiceSpec
from mtl_ray.data.splits import PARTS
from mtl_ray.tasks import ClassTaskSettings, TaskConfig

_EPOCH = date(1970, 1, 1)


def summarise(
    states: Sequence[ContractState],
    spec: ServiceSpec,
    tasks: Mapping[str, TaskConfig],
    config: ContractConfig,
) -> ContractResult:
    """The result over all rows of `states` (at least one, in any order).

    With states that were read from files, one feature's distributions are in memory at a time. Stops nothing: see
    `check`.
    """
    counts = ContractCounts.merged([state.counts for state in states])
    drift, ages = _compare(states, counts)
    days = list(counts.days.rows)
    rows = dict(zip(PARTS, counts.rows, strict=True))
    features = tuple(
        _feature(feature, counts.features[feature.name], drift.get(feature.name), config) for feature in spec.features
    )
    ttl = {view.name: view.ttl_seconds for view in spec.views}
    views = tuple(_view(name, counts.views[name], ages.get(name), ttl.get(name)) for name in view_names(spec))
    result = ContractResult(
        rows=rows,
        quarantined=counts.quarantined,
        reasons=counts.quarantine_reasons,
        features=features,
        views=views,
        days=tuple(_EPOCH + timedelta(days=day) for day in days),
        rows_by_day={part: tuple(counts.days.rows[day][at] for day in days) for at, part in enumerate(PARTS)},
        tasks={name: _task(task, [counts.days.tasks[name][day] for day in days]) for name, task in tasks.items()},
        findings=(),
    )
    return result.model_copy(update={"findings": all_findings(result, counts, spec, config)})


def _compare(
    states: Sequence[ContractState], counts: ContractCounts
) -> tuple[dict[str, Psi], dict[str, NumberDistribution]]:
    """PSI by feature and ages by view; those that are not known are left out."""
    train: dict[str, Distribution] = {}
    drift: dict[str, Psi] = {}
    ages: dict[str, NumberDistribution] = {}
    for (subject, what), distribution in merged_distributions(states):
        if what == "age":
            assert isinstance(distribution, NumberDistribution)
            ages[subject] = distribution
        elif what == "train":
            train[subject] = distribution
        else:
            found = _psi(train.pop(subject), distribution, counts.features[subject])
            if found is not None:
                drift[subject] = found
    return drift, ages


def _psi(train: Distribution, test: Distribution, counts: FeatureCounts) -> Psi | None:
    if isinstance(train, NumberDistribution):
        assert isinstance(test, NumberDistribution)
        return number_psi(train, test)
    assert isinstance(test, CategoryCounts)
    (train_rows, _, test_rows), (train_missing, _, test_missing) = counts.rows, counts.missing
    return category_psi(train, test, (train_missing, test_missing), (train_rows, test_rows))


def _feature(feature: FeatureSpec, counts: FeatureCounts, psi: Psi | None, config: ContractConfig) -> FeatureSummary:
    return FeatureSummary(
        name=feature.name,
        view=feature.view,
        encoding=feature.encoding,
        type=", ".join(counts.types),
        declared=declared_type(feature),
        missing={
            part: missing / rows if rows else None
            for part, missing, rows in zip(PARTS, counts.missing, counts.rows, strict=True)
        },
        minimum=counts.minimum,
        maximum=counts.maximum,
        allowed=config.range_of(feature),
        psi=None if psi is None else psi.value,
        psi_by_chance=None if psi is None else psi.by_chance,
        drift=drift_severity(feature.name, psi, config.drift),
    )


def _view(name: str, counts: ViewCounts, ages: NumberDistribution | None, ttl: float | None) -> ViewSummary:
    def part(rows: int | None) -> float | None:
        return None if rows is None or not counts.rows else rows / counts.rows

    median, p99 = (None, None) if ages is None or not ages.count else ages.quantiles([0.5, 0.99]).tolist()
    return ViewSummary(
        name=name,
        empty=part(counts.empty),
        matched=part(counts.matched),
        age_min=None if ages is None or not ages.count else ages.minimum,
        age_median=median,
        age_p99=p99,
        age_max=None if ages is None or not ages.count else ages.maximum,
        ttl=ttl,
    )


def _task(task: TaskConfig, days: Sequence[DayLabels]) -> TaskDays:
    observed = tuple(day.observed for day in days)
    if isinstance(task, ClassTaskSettings):
        return TaskDays(
            observed=observed,
            mean=(None,) * len(days),
            classes=tuple(map(str, task.classes)),
            shares=tuple(tuple(rows / day.observed for rows in day.classes) if day.observed else None for day in days),
        )
    return TaskDays(
        observed=observed,
        mean=tuple(from_exact(day.total, day.observed) if day.observed else None for day in days),
    )
