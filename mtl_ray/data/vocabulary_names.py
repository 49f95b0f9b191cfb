"""Which vocabulary a feature reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mtl_ray.data.service_spec import FeatureSpec
from mtl_ray.errors import ConfigError, nearest

WITH_VOCABULARY = ("categorical", "list")
"""Encodings that have one."""


def vocabulary_name(feature: FeatureSpec) -> str:
    """The vocabulary that a categorical or list feature reads."""
    return feature.vocabulary or feature.name


def check_vocabulary_names(names: Iterable[str], features: Sequence[FeatureSpec]) -> None:
    """Raise `ConfigError` unless each of `names`, of `unknown_ids`, is a vocabulary that some feature reads."""
    known = {vocabulary_name(feature) for feature in features if feature.encoding in WITH_VOCABULARY}
    for name in names:
        if name in known:
            continue
        of_feature = {feature.name: feature.vocabulary for feature in features}.get(name)
        guess = of_feature or nearest(name, known)
        raise ConfigError(
            "unknown_ids names what is no vocabulary.",
            where="training_set.preprocessing.unknown_ids",
            found=name if of_feature is None else f"{name}, a feature of the vocabulary {of_feature}",
            allowed=", ".join(sorted(known)) or "nothing: the service has no category and no list",
            fix=f"did you mean {guess}?" if guess else "correct the name, or take it out",
        )
