"""Whether a training's model can be compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtl_ray.aggregation import AggregationSettings, SumConfig
from mtl_ray.errors import ConfigError
from mtl_ray.models.settings import ModelSettings
from mtl_ray.weighting.settings import WeightingSettings

if TYPE_CHECKING:
    from mtl_ray.config.tree import TrainingConfig


def check_compile(
    training: TrainingConfig, model: ModelSettings, weighting: WeightingSettings, aggregation: AggregationSettings
) -> None:
    """Raise `ConfigError` where a step needs what a compiled model does not show: gradients in its middle, collectives
    within it, or the modules one by one."""
    if training.compile is False:
        return
    compared = weighting.needs_norms or not isinstance(aggregation, SumConfig)
    key = "weighting" if weighting.needs_norms else "aggregation"
    name = (weighting if weighting.needs_norms else aggregation).model_dump()["name"]
    for where, found, refused, allowed in (
        (key, f"{name}, which compares the tasks' gradients", compared, "what looks at losses alone"),
        ("training.affinity_every", training.affinity_every, training.affinity_every is not None, "null"),
        ("model.norm", "batch", model.norm == "batch", "none, layer"),
    ):
        if refused:
            raise ConfigError(
                "A compiled model does not go with this setting.",
                where=f"{where}, with training.compile={str(training.compile).lower()}",
                found=found,
                allowed=allowed,
                fix="change it, or set training.compile=false",
            )
    if training.compile == "auto" and training.profile:
        raise ConfigError(
            "The steps that would be profiled are partly compiled and partly not.",
            where="training.profile, with training.compile=auto",
            fix="training.compile=true or false",
        )
