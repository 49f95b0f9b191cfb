"""`model.encoder.features`: encoders of single features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, get_args

from pydantic import Field

from mtl_ray.errors import ConfigError, nearest
from mtl_ray.models.encoders.choice import BY_NAME
from mtl_ray.models.encoders.names import feature_names, unknown
from mtl_ray.models.encoders.numeric import NumericChoice
from mtl_ray.models.encoders.sequences import PoolingChoice
from mtl_ray.models.encoders.vectors import VectorConfig
from mtl_ray.schema import BatchSchema

FeatureChoice = NumericChoice | PoolingChoice | VectorConfig

FeatureConfig = Annotated[FeatureChoice, Field(discriminator="name"), BY_NAME]


def check_overrides(features: Mapping[str, FeatureChoice], schema: BatchSchema) -> None:
    """Raise `ConfigError` where a key is no feature, or where its encoder is none for the feature's type."""
    types = _types(schema)
    for name, encoder in features.items():
        where = f"model.encoder.features.{name}"
        if name not in types:
            raise unknown("The model names a feature that the training set does not have.", name, types, where)
        if encoder.kind != types[name]:
            allowed = _encoders_of(types[name])
            guess = nearest(encoder.name, allowed)
            raise ConfigError(
                f"Unknown encoder for a feature's type: {name} is of type {types[name]}.",
                where=f"{where}.name",
                found=f"{encoder.name}, which encodes type {encoder.kind}",
                allowed=", ".join(allowed) or f"nothing: {_reason(types[name])}",
                fix=f"write {guess or allowed[0]}" if allowed else "remove the key",
            )


def _types(schema: BatchSchema) -> dict[str, str]:
    """Type of each feature that has a name."""
    kinds = dict.fromkeys(schema.numeric, "numeric")
    kinds |= {feature.name: "list" for feature in schema.lists}
    kinds |= {feature.name: "vector" for feature in schema.vectors}
    kinds |= {feature.name: "times" for feature in schema.ages}
    return {name: kinds.get(name, "categorical") for name in (*feature_names(schema), *(a.name for a in schema.ages))}


def _encoders_of(kind: str) -> list[str]:
    members = [member for member in get_args(FeatureChoice) if member.kind == kind]
    return [str(member.model_fields["name"].default) for member in members]


def _reason(kind: str) -> str:
    return (
        "the times of a sequence enter through its encoder"
        if kind == "times"
        else "it has a row of a table for each id"
    )
