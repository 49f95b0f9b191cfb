"""The names of a training set's features, and what is said of a name that is none of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mtl_ray.errors import ConfigError, nearest
from mtl_ray.schema import BatchSchema


def feature_names(schema: BatchSchema) -> tuple[str, ...]:
    """Categorical, numeric, list and vector features, each in schema order; ages belong to their sequence's lists."""
    categorical = [feature.name for feature in schema.categorical]
    lists = [feature.name for feature in schema.lists]
    return (*categorical, *schema.numeric, *lists, *(feature.name for feature in schema.vectors))


def check_known(features: Sequence[str], schema: BatchSchema, where: str) -> None:
    """Raise `ConfigError` where one of `features` is none of the training set's."""
    known = feature_names(schema)
    for name in features:
        if name not in known:
            raise unknown("The model names a feature that the training set does not have.", name, known, where)


def unknown(what: str, name: str, known: Iterable[str], where: str) -> ConfigError:
    """The error for `name`, which is none of `known`."""
    known = list(known)
    guess = nearest(name, known)
    return ConfigError(
        what,
        where=where,
        found=name,
        allowed=", ".join(known) or "none: the training set has no such feature",
        fix=f"did you mean {guess}?" if guess else "name one of the features" if known else "remove it",
    )
