"""Every way to balance tasks, by name: a weighting, or an aggregation at one of both places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from mtl_ray.aggregation import AggregationConfig, AggregationSettings, Place
from mtl_ray.weighting import StaticWeightingConfig, WeightingConfig
from mtl_ray.weighting.settings import WeightingSettings

PLAIN = "sum"


@dataclass(frozen=True)
class Method:
    """What differs from the plain sum."""

    name: str
    kind: str
    """loss weighting, aggregation on representation or aggregation on shared."""
    weighting: WeightingSettings
    aggregation: AggregationSettings | None
    on: Place
    period: int = 1
    """Steps of which one may cost more than the others."""


def methods() -> dict[str, Method]:
    """The plain sum first."""
    plain = StaticWeightingConfig()
    found = [Method(PLAIN, "plain", plain, None, "representation")]
    for weighting in get_args(get_args(WeightingConfig)[0]):
        if weighting is StaticWeightingConfig:
            continue
        leaf = weighting()
        found.append(Method(leaf.name, "loss weighting", leaf, None, "representation", getattr(leaf, "every", 1)))
    for place in get_args(Place):
        for aggregation in get_args(get_args(AggregationConfig)[0]):
            leaf = aggregation()
            if leaf.name != PLAIN:
                found.append(Method(f"{leaf.name} on {place}", f"aggregation on {place}", plain, leaf, place))
    return {method.name: method for method in found}
