"""What embedding tables learn by: adding a method is one file and one line here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mtl_ray.optim.embeddings.adagrad import AdagradConfig
from mtl_ray.optim.embeddings.auto import AutoConfig
from mtl_ray.optim.embeddings.dense import DenseConfig
from mtl_ray.optim.embeddings.rowwise_adagrad import RowwiseAdagradConfig
from mtl_ray.optim.embeddings.sgd import SGDConfig
from mtl_ray.optim.embeddings.sparse_adam import SparseAdamConfig

EmbeddingOptimizerConfig = Annotated[
    AutoConfig | DenseConfig | RowwiseAdagradConfig | AdagradConfig | SGDConfig | SparseAdamConfig,
    Field(discriminator="name"),
]

__all__ = [
    "AdagradConfig",
    "AutoConfig",
    "DenseConfig",
    "EmbeddingOptimizerConfig",
    "RowwiseAdagradConfig",
    "SGDConfig",
    "SparseAdamConfig",
]
