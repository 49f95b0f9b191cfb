"""Ray Tune's schedulers, from the space file. All compare `JUDGED` after an epoch."""

from __future__ import annotations

from typing import Any

from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.schedulers.pb2 import PB2

from mtl_ray.tuning.brackets import HyperBand, HyperBandOfBohb
from mtl_ray.tuning.parameters import Choice, LogUniform, Parameter, Range, Uniform, bounds_of
from mtl_ray.tuning.points import Space
from mtl_ray.tuning.settings import (
    AshaConfig,
    BohbConfig,
    HyperBandConfig,
    MedianConfig,
    Pb2Config,
    PbtConfig,
    SchedulerConfig,
)
from mtl_ray.tuning.trial import JUDGED, POINT

EPOCH = "epoch"
"""Reported by every trial: epochs that the weights have been trained for, wherever they came from."""


def build_scheduler(config: SchedulerConfig, space: Space, epochs: int) -> TrialScheduler:
    """`epochs`: of the longest trial."""
    judged: dict[str, Any] = {"metric": JUDGED, "mode": "max"}
    if isinstance(config, AshaConfig):
        return ASHAScheduler(
            **judged,
            time_attr=EPOCH,
            max_t=max(epochs, config.grace),
            grace_period=config.grace,
            reduction_factor=config.reduction,
            brackets=config.brackets,
        )
    if isinstance(config, HyperBandConfig):
        return HyperBand(**judged, time_attr=EPOCH, max_t=epochs, reduction_factor=config.reduction)
    if isinstance(config, BohbConfig):
        return HyperBandOfBohb(**judged, time_attr=EPOCH, max_t=epochs, reduction_factor=config.reduction)
    if isinstance(config, MedianConfig):
        return MedianStoppingRule(
            **judged, time_attr=EPOCH, grace_period=config.grace, min_samples_required=config.least
        )
    if isinstance(config, PbtConfig):
        return PopulationBasedTraining(
            **judged,
            time_attr=EPOCH,
            perturbation_interval=config.every,
            hyperparam_mutations={POINT: {"values": {key: _domain(parameter) for key, parameter in space.items()}}},
            quantile_fraction=config.quantile,
            resample_probability=config.resample,
            custom_explore_fn=_Within(space),
        )
    if isinstance(config, Pb2Config):
        return PB2(
            **judged,
            time_attr=EPOCH,
            perturbation_interval=config.every,
            hyperparam_bounds={POINT: {"values": {key: list(bounds) for key, bounds in _bounds(space).items()}}},
            quantile_fraction=config.quantile,
            custom_explore_fn=_Within(space),
        )
    return FIFOScheduler()


def _domain(parameter: Parameter) -> Any:
    if isinstance(parameter, LogUniform):
        return tune.loguniform(*parameter.loguniform)
    if isinstance(parameter, Uniform):
        return tune.uniform(*parameter.uniform)
    assert isinstance(parameter, Choice)
    return list(parameter.choice)


def _bounds(space: Space) -> dict[str, Range]:
    found = {key: bounds_of(parameter) for key, parameter in space.items()}
    return {key: bounds for key, bounds in found.items() if bounds is not None}


class _Within:
    """Keeps what a factor has changed inside of the space, and what PB2 has rounded to float32. A class, because Tune
    pickles the scheduler."""

    def __init__(self, space: Space) -> None:
        self._bounds = _bounds(space)

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        values = config[POINT]["values"]
        for key, (low, high) in self._bounds.items():
            values[key] = min(max(values[key], low), high)
        return config
