"""Whether the names in a contract's config are those of the feature service and the tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mtl_ray.data.contract.config import ContractConfig
from mtl_ray.data.contract.feature_counts import has_distribution
from mtl_ray.data.service_spec import ServiceSpec
from mtl_ray.errors import ConfigError, nearest
from mtl_ray.tasks import ClassTaskSettings, TaskConfig

_TEXT = ("String", "Uuid")


def check_names(config: ContractConfig, spec: ServiceSpec, tasks: Mapping[str, TaskConfig]) -> None:
    """Raise `ConfigError` for a feature, view or task that does not exist, or of which the rule makes no sense."""
    features = {feature.name: feature for feature in spec.features}
    numbers = [
        name
        for name, feature in features.items()
        if feature.encoding in ("categorical", "numeric") and feature.dtype not in _TEXT
    ]
    counted = [name for name, feature in features.items() if has_distribution(feature)]
    rates = [name for name, task in tasks.items() if not isinstance(task, ClassTaskSettings)]
    views = view_names(spec)
    known: dict[str, tuple[str, Iterable[str]]] = {
        "ranges": ("feature that holds numbers", numbers),
        "required": ("feature", features),
        "missing.features": ("feature", features),
        "drift.features": ("feature whose values are counted", counted),
        "unmatched.views": ("feature view", views),
        "freshness.views": ("feature view", [view.name for view in spec.views]),
        "label_rates.bounds": ("task whose label is a number", rates),
    }
    for key, names in config.named().items():
        kind, allowed = known[key]
        for name in names:
            if name not in allowed:
                guess = nearest(name, allowed)
                raise ConfigError(
                    f"The data contract names a {kind} that does not exist.",
                    where=f"training_set.contract.{key}",
                    found=name,
                    allowed=", ".join(allowed) or f"nothing: there is no {kind}",
                    fix=f"did you mean {guess!r}?" if guess else "correct the name, or take it out",
                )


def view_names(spec: ServiceSpec) -> tuple[str, ...]:
    """Names of the views, on-demand views included, in the service's order."""
    own = (feature.view for feature in spec.features if feature.view is not None)
    return tuple(dict.fromkeys([*(view.name for view in spec.views), *own]))
