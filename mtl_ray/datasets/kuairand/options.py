"""What a user may choose about the KuaiRand tables."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import ValidationError

from mtl_ray.errors import ConfigError, nearest
from mtl_ray.schema import Settings


class KuaiRandOptions(Settings):
    """Which impressions are used."""

    random_log: bool = False
    """Add the impressions of randomly exposed videos (official files only)."""
    spine_from: date | None = None
    """First day in China of the spine; the earlier log then serves the aggregates only. Default: the whole log."""


def parse_options(options: dict[str, Any]) -> KuaiRandOptions:
    """`options` as `KuaiRandOptions`; ConfigError for the first unknown name or unusable value."""
    known = sorted(KuaiRandOptions.model_fields)
    for name, value in options.items():
        if name not in known:
            guess = nearest(name, known)
            raise ConfigError(
                "the kuairand data set has no such option",
                where=name,
                found=repr(value),
                allowed=", ".join(known),
                fix=f"did you mean {guess}?" if guess else None,
            )
    try:
        return KuaiRandOptions(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        allowed = {"random_log": "true or false", "spine_from": "a day such as 2022-04-25"}[name]
        raise ConfigError(
            "an option of the kuairand data set cannot be used", where=name, found=repr(options[name]), allowed=allowed
        ) from error
