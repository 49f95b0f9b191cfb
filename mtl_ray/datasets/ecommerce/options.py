"""What a user may choose about the simulated shop."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError

from mtl_ray.errors import ConfigError, nearest
from mtl_ray.schema import Settings


class EcommerceOptions(Settings):
    """Size and seed of the simulated shop."""

    num_users: int = Field(default=2000, ge=20, le=1_000_000)
    num_items: int = Field(default=500, ge=40, le=100_000)
    num_days: int = Field(default=35, ge=2, le=365)
    """Days that the spine covers; the simulation starts `HISTORY_DAYS` earlier so that the aggregates are not empty."""
    num_impressions: int = Field(default=240_000, ge=200, le=100_000_000)
    """Rows of the spine (the simulator draws whole sessions, so a little fewer or more)."""
    seed: int = Field(default=0, ge=0, lt=2**32)


def parse_options(options: dict[str, Any]) -> EcommerceOptions:
    """`options` as `EcommerceOptions`; ConfigError for the first unknown name or value out of range."""
    known = sorted(EcommerceOptions.model_fields)
    for name in options:
        if name not in known:
            guess = nearest(name, known)
            raise ConfigError(
                "the ecommerce data set has no such option",
                where=name,
                found=repr(options[name]),
                allowed=", ".join(known),
                fix=f"did you mean {guess}?" if guess else None,
            )
    try:
        return EcommerceOptions(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise ConfigError(
            "an option of the ecommerce data set is out of range",
            where=name,
            found=repr(options[name]),
            allowed=_allowed(name),
        ) from error


def _allowed(name: str) -> str:
    bounds = EcommerceOptions.model_json_schema()["properties"][name]
    low = bounds["minimum"]
    high = bounds["maximum"] if "maximum" in bounds else bounds["exclusiveMaximum"] - 1
    return f"an integer from {low} to {high}"
