"""From a trial's values to its config."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from mtl_ray.config import VARIANT_KEYS, Config, parse_config, set_value
from mtl_ray.errors import ConfigError, UserError
from mtl_ray.tuning.points import Values


def in_words(values: Values) -> str:
    """Such as `model.name=ple, training.epochs=3`."""
    shown = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in values.items()}
    return ", ".join(f"{key}={value}" for key, value in shown.items())


def in_short_words(values: Values) -> str:
    """As `in_words`, for a terminal: of each key the last parts that no other one has, two at least."""
    return in_words({_shortened(key, values): value for key, value in values.items()})


def _shortened(key: str, keys: Iterable[str]) -> str:
    parts = key.split(".")
    for length in range(2, len(parts)):
        tail = "." + ".".join(parts[-length:])
        if sum(other.endswith(tail) for other in keys) == 1:
            return tail[1:]
    return key


def resolved_tree(base: dict[str, Any], values: Values, seed: int) -> tuple[dict[str, Any], list[str]]:
    """`base` with a trial's values and its seed, not checked yet, and the keys that a chosen variant has dropped."""
    tree = copy.deepcopy(base)
    dropped = []
    # What chooses a variant comes first: the other values may be keys of that variant.
    for key in sorted(values, key=lambda key: (key.rpartition(".")[2] not in VARIANT_KEYS, key.count("."))):
        parent = key.rpartition(".")[0]
        dropped += [f"{parent}.{name}" for name in set_value(tree, key, copy.deepcopy(values[key]))]
    tree["seed"] = seed
    return tree, dropped


def resolved(base: dict[str, Any], values: Values, seed: int) -> Config:
    """The config of a trial. Raises ConfigError, with the trial's values, where they do not fit the config.

    Args:
        base: the tree that the search started from.
        values: of the trial.
        seed: of the trial.
    """
    source = f"trial with {in_words(values)}"
    try:
        return parse_config(resolved_tree(base, values, seed)[0], source)
    except UserError as error:
        if source in str(error):
            raise
        # Checks of several keys together name their keys and know no source.
        where = f"{source}: {error.where}" if error.where else source
        raise ConfigError(error.what, where=where, found=error.found, allowed=error.allowed, fix=error.fix) from None
