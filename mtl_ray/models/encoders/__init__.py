"""Encoders: from a batch's columns to one vector a row, fields of `embedding_dim` numbers first.

config         `model.encoder` of the config and its checks; overrides, histories, names: what it means for a schema
features       `FeatureEncoder`: one gather for all ids, then the parts below, side by side
numeric/       how numbers enter: plain, or as an embedding each
sequences/     how a list or a history of several lists becomes one vector
vectors        precomputed vectors
ages           ages of a history's entries in buckets
layout         which numbers of a row's vector are which feature's
interactions/  what is computed across the fields

Adding an encoder or interaction takes one new file in its folder and one line in the union in the folder's
__init__.py.
"""

from mtl_ray.models.encoders.config import FeatureEncoderConfig
from mtl_ray.models.encoders.features import FeatureEncoder

__all__ = ["FeatureEncoder", "FeatureEncoderConfig"]
