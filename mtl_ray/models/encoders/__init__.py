"""Encoders: from a batch's columns to one vector a row."""

from mtl_ray.models.encoders.features import FeatureEncoder, FeatureEncoderConfig

__all__ = ["FeatureEncoder", "FeatureEncoderConfig"]
