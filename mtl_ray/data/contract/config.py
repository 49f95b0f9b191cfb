"""What the data contract demands, and what happens where the data breaks it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, field_validator

from mtl_ray.data.service_spec import FeatureSpec
from mtl_ray.schema import Settings

Action = Literal["warn", "stop"]
RowAction = Literal["warn", "quarantine", "stop"]
Range = tuple[float | None, float | None]
"""Smallest and largest allowed value, both included; null: no limit on this side."""

_Share = Annotated[float, Field(ge=0.0, le=1.0)]
_Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
_Age = Annotated[timedelta, Field(gt=timedelta())]


class MissingRule(Settings):
    """How often a feature may be missing, in each part."""

    limit: _Share = 0.99
    """Largest share of a part's rows without a value."""
    features: dict[str, _Share] = Field(default_factory=dict)
    """Feature -> its own limit."""
    then: Action = "warn"


class UnmatchedRule(Settings):
    """A view none of whose features ever has a value was joined by the wrong key or read from the wrong path."""

    limit: Annotated[float, Field(gt=0.0, le=1.0)] = 0.999
    """From this share of rows without any feature of the view on, it counts as not matched."""
    views: dict[str, Annotated[float, Field(gt=0.0, le=1.0)]] = Field(default_factory=dict)
    """View -> its own limit; 1.0 admits all but a view without a single value."""
    then: Action = "stop"


class FreshnessRule(Settings):
    """How old a view's rows may be at the moment of the examples that they were joined to: 99 % of them are judged,
    so that a few users who come back after a year are no alarm."""

    max_age: _Age | None = None
    """Seconds, or an ISO 8601 duration such as P2D; null: as old as the view's ttl admits."""
    views: dict[str, _Age] = Field(default_factory=dict)
    """View -> its own limit."""
    then: Action = "warn"


class DriftRule(Settings):
    """How far a feature's distribution may move from the training to the test part: see `psi`."""

    warn: _Positive = 0.1
    alarm: _Positive = 0.25
    features: dict[str, _Positive] = Field(default_factory=dict)
    """Feature -> its own alarm level, below which nothing is said of it."""
    then: Action = "warn"
    """What an alarm does; a feature between `warn` and `alarm` is pointed out at most."""


class LabelRateRule(Settings):
    """Between what the mean label of a UTC day must lie. A day that has rows but no labels, where the other days let
    expect at least 20, is pointed out whatever stands here."""

    bounds: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Task -> smallest and largest mean label."""
    min_labels: Annotated[int, Field(ge=1)] = 100
    """Days with fewer labels are not judged."""
    then: Action = "warn"

    @field_validator("bounds")
    @classmethod
    def _check_bounds(cls, value: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in value.items():
            if not low <= high:
                raise ValueError(f"{name}: the smaller number comes first, found [{low:g}, {high:g}]")
        return value


class ContractConfig(Settings):
    """Rules for rows, columns and views of the joined training set.

    Rows that break a hard rule (a value outside its range, a required value missing, a label that its task refuses)
    go to a quarantine file with the reason. Ranges and required features come from the tags `min`, `max` and
    `required` of the Feast fields; what stands here wins.
    """

    ranges: dict[str, Range] = Field(default_factory=dict)
    """Feature -> smallest and largest allowed value; [null, null] lifts the tags' range."""
    required: dict[str, bool] = Field(default_factory=dict)
    """Feature -> whether a row without a value breaks the contract."""
    event_time: tuple[datetime | None, datetime | None] = (None, None)
    """First and last admitted event time, with time zones."""
    broken_rows: RowAction = "quarantine"
    """warn: a row outside a range stays in and is counted (a label or a join key that cannot be used goes all the
    same). stop: quarantine them, and stop the run if there is any."""
    max_quarantined: _Share = 0.05
    """Larger shares of the rows stop the run."""
    types: Action = "stop"
    """For a column whose type cannot hold what Feast declares."""
    unmatched: UnmatchedRule = UnmatchedRule()
    missing: MissingRule = MissingRule()
    freshness: FreshnessRule = FreshnessRule()
    drift: DriftRule = DriftRule()
    label_rates: LabelRateRule = LabelRateRule()

    @field_validator("ranges")
    @classmethod
    def _check_ranges(cls, value: dict[str, Range]) -> dict[str, Range]:
        for name, (low, high) in value.items():
            if low is not None and high is not None and not low <= high:
                raise ValueError(f"{name}: the smaller number comes first, found [{low:g}, {high:g}]")
        return value

    @field_validator("event_time")
    @classmethod
    def _check_event_time(cls, value: tuple[datetime | None, datetime | None]) -> tuple[datetime | None, ...]:
        for time in value:
            if time is not None and time.utcoffset() is None:
                raise ValueError(f"needs a time zone, found {time.isoformat()}: write {time.isoformat()}+00:00 for UTC")
        first, last = value
        if first is not None and last is not None and first > last:
            raise ValueError(f"the earlier time comes first, found {first.isoformat()} and {last.isoformat()}")
        return value

    def range_of(self, feature: FeatureSpec) -> Range:
        """The range that holds for `feature`."""
        return self.ranges.get(feature.name, (feature.minimum, feature.maximum))

    def is_required(self, feature: FeatureSpec) -> bool:
        """Whether a row without a value of `feature` breaks the contract. A join key always is."""
        return feature.source == "key" or self.required.get(feature.name, feature.required)

    def named(self) -> Mapping[str, tuple[str, ...]]:
        """Config key -> the names of features, views or tasks that stand there."""
        return {
            "ranges": tuple(self.ranges),
            "required": tuple(self.required),
            "missing.features": tuple(self.missing.features),
            "drift.features": tuple(self.drift.features),
            "unmatched.views": tuple(self.unmatched.views),
            "freshness.views": tuple(self.freshness.views),
            "label_rates.bounds": tuple(self.label_rates.bounds),
        }
