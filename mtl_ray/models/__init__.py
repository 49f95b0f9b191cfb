"""Models: encoder -> sharing -> tower -> head -> outputs.

encoders/  a batch's columns to one vector a row
encoding   which encoders an architecture asks for: one, one a task, one of a few features
sharing/   what tasks have in common, one architecture a file
outputs    from the towers to the tasks' logits; entire_space: products along the task graph
next_item  two towers beside the architecture, on its embedding table
auxiliary  losses that an architecture adds to the tasks'
mlp, experts, norm, gate, tower   the layers
model      `MultiTaskModel`
settings   config fields of every model

Adding an architecture takes one new file in sharing/ and one line in the union in sharing/__init__.py.
"""

from mtl_ray.models.model import MultiTaskModel
from mtl_ray.models.sharing import ModelConfig

__all__ = ["ModelConfig", "MultiTaskModel"]
