"""Models: encoder -> sharing -> tower -> head.

encoders/  a batch's columns to one vector a row
sharing/   what tasks have in common, one architecture a file
mlp, experts, tower   the layers
model      `MultiTaskModel`
settings   config fields of every model

Adding an architecture takes one new file in sharing/ and one line in the union in sharing/__init__.py.
"""

from mtl_ray.models.model import MultiTaskModel
from mtl_ray.models.sharing import ModelConfig

__all__ = ["ModelConfig", "MultiTaskModel"]
