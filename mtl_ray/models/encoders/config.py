"""`model.encoder` of the config, and what can be said of it before anything is built."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import Field

from mtl_ray.errors import ConfigError
from mtl_ray.models.encoders.features import FeatureEncoder
from mtl_ray.models.encoders.histories import KEY, HistoryPlan, plan_histories
from mtl_ray.models.encoders.interactions import InteractionConfig, NoInteractionConfig
from mtl_ray.models.encoders.numeric import NumericConfig, NumericSettings, PlainConfig
from mtl_ray.models.encoders.overrides import FeatureConfig, check_overrides
from mtl_ray.models.encoders.parts import EncoderParts
from mtl_ray.models.encoders.sequences import (
    MeanConfig,
    PoolingConfig,
    SequenceConfig,
    SequenceSettings,
    TargetSettings,
)
from mtl_ray.models.encoders.vectors import VectorConfig
from mtl_ray.schema import BatchSchema, Settings


class FeatureEncoderConfig(Settings):
    """`model.encoder` of the config. A choice without settings may be written as its name: `numeric: plain`."""

    embedding_dim: int = Field(default=16, ge=1)
    embedding_std: float = Field(default=0.01, gt=0.0, allow_inf_nan=False)
    """Embeddings start normally distributed with this standard deviation: small, so that an id seen a few times
    says little at first."""
    embedding_l2: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """Coefficient of the squared length of the embeddings that a row shows, in the mean over rows. Unlike weight decay
    it leaves alone the rows of the table that no batch shows."""
    numeric: NumericConfig = PlainConfig()
    """How numbers enter."""
    list_pooling: PoolingConfig = MeanConfig()
    """How a list becomes one vector, where `sequences` does not name it."""
    vectors: VectorConfig = VectorConfig()
    """How precomputed vectors enter."""
    features: dict[str, FeatureConfig] = Field(default_factory=dict)
    """Numeric, list or vector feature -> its own encoder, in place of the three above."""
    sequences: dict[str, SequenceConfig] = Field(default_factory=dict)
    """Sequence (a tag of the feature repository), or a single list -> the encoder of its entries."""
    interaction: InteractionConfig = NoInteractionConfig()
    """What is computed across the fields."""

    def check(self, schema: BatchSchema) -> None:
        """Raise `ConfigError` where the config and the training set do not fit together."""
        check_overrides(self.features, schema)
        parts = self.parts(schema)
        for plan in parts.histories:
            self._check_history(plan)
        if not schema.numeric_quantiles:
            for name, leaf in zip(schema.numeric, parts.numeric, strict=True):
                if leaf.needs_quantiles:
                    raise ConfigError(
                        "The training set holds no quantiles to cut buckets from.",
                        where=self._where("numeric", name),
                        found=leaf.model_dump()["name"],
                        allowed="plain, plr",
                        fix="build the training set again",
                    )
        if parts.layout.size:
            self.interaction.check(parts.layout)

    def build(self, schema: BatchSchema, borrowed: Mapping[str, int] | None = None) -> FeatureEncoder:
        """The encoder in float32; `borrowed` as `FeatureEncoder` takes it. Raises `ConfigError` as `check` does,
        `MtlRayError` where there is no feature."""
        self.check(schema)
        return FeatureEncoder(self.parts(schema), self.embedding_std, self.interaction, borrowed)

    def parts(self, schema: BatchSchema) -> EncoderParts:
        """The settings of each feature. Raises `ConfigError` where `sequences` do not fit the training set."""
        pooling = {feature.name: self._pooling(feature.name) for feature in schema.lists}
        return EncoderParts(
            histories=plan_histories(self.sequences, pooling, schema),
            numeric=tuple(self._numeric(name) for name in schema.numeric),
            vectors=tuple(self._vector(feature.name) for feature in schema.vectors),
            schema=schema,
            dim=self.embedding_dim,
        )

    def narrowed(self, schema: BatchSchema, kept: Collection[str]) -> FeatureEncoderConfig:
        """The config of an encoder that reads the features `kept` alone.

        It has no interaction, and the encoders of those sequences of which it has all lists and targets; other lists
        are pooled.
        """
        plans = [plan for plan in self.parts(schema).histories if plan.key is not None]
        sequences = {}
        for plan in plans:
            if plan.key is None or not set(plan.features) <= set(kept):
                continue
            encoder = self.sequences[plan.key]
            if isinstance(encoder, TargetSettings):
                names = (feature.name for feature in plan.lists)
                encoder = encoder.model_copy(update={"target": dict(zip(names, plan.targets, strict=True))})
            sequences[plan.key] = encoder
        return self.model_copy(
            update={
                "features": {name: leaf for name, leaf in self.features.items() if name in kept},
                "sequences": sequences,
                "interaction": NoInteractionConfig(),
            }
        )

    def _check_history(self, plan: HistoryPlan) -> None:
        if plan.key is None:
            return
        plan.encoder.check_width(len(plan.lists) * self.embedding_dim, f"{KEY}.{plan.key}")
        for feature in plan.lists:
            if feature.name in self.features:
                raise ConfigError(
                    f"The list {feature.name} has two encoders.",
                    where=f"model.encoder.features.{feature.name}",
                    found=f"this and {KEY}.{plan.key}",
                    allowed="one of them",
                    fix="remove one",
                )

    def _numeric(self, name: str) -> NumericSettings:
        leaf = self.features.get(name)
        return leaf if isinstance(leaf, NumericSettings) else self.numeric

    def _pooling(self, name: str) -> SequenceSettings:
        leaf = self.features.get(name)
        return leaf if isinstance(leaf, SequenceSettings) else self.list_pooling

    def _vector(self, name: str) -> VectorConfig:
        leaf = self.features.get(name)
        return leaf if isinstance(leaf, VectorConfig) else self.vectors

    def _where(self, key: str, name: str) -> str:
        return f"model.encoder.features.{name}" if name in self.features else f"model.encoder.{key}"
