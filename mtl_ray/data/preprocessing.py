"""From raw feature columns to the packed columns of a training set, with statistics of the training part alone.

Rows that do not fit in memory together are fitted bucket by bucket: see `preprocessing_state`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from mtl_ray.data.fitted_preprocessing import (
    AGE_PREFIX,
    LIST_PREFIX,
    MISSING_SUFFIX,
    VECTOR_PREFIX,
    Preprocessing,
    PreprocessingConfig,
)
from mtl_ray.data.preprocessing_state import PreprocessingState
from mtl_ray.data.service_spec import FeatureSpec

__all__ = [
    "AGE_PREFIX",
    "LIST_PREFIX",
    "MISSING_SUFFIX",
    "VECTOR_PREFIX",
    "Preprocessing",
    "PreprocessingConfig",
    "fit",
]


def fit(config: PreprocessingConfig, features: Sequence[FeatureSpec], table: pa.Table) -> Preprocessing:
    """Fit to `table`, the training part's rows with the raw columns of `features`.

    A vocabulary counts over all features that name it; a list counts only the values that it keeps. Raises
    `DataError` for a raw column that is absent or of the wrong type.
    """
    return PreprocessingState.of(config, features, table).finish()
