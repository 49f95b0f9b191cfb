"""Sharing architectures: how much of the network tasks have in common.

Adding one takes a new file here, with a `ModelSettings` leaf (its `name`, its sizes, `build_sharing`) and its
`Sharing` module, and one line in the union below. The contract tests enumerate the union, so they test it at once.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mtl_ray.models.sharing.mmoe import MMoE, MMoEConfig
from mtl_ray.models.sharing.shared_bottom import SharedBottom, SharedBottomConfig
from mtl_ray.models.sharing.sharing import Sharing

ModelConfig = Annotated[
    SharedBottomConfig | MMoEConfig,
    Field(discriminator="name"),
]

__all__ = ["MMoE", "MMoEConfig", "ModelConfig", "SharedBottom", "SharedBottomConfig", "Sharing"]
