"""Which rows have no value."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.data.service_spec import FeatureSpec
from mtl_ray.data.vector_features import VectorColumn


def missing_rows(values: pa.ChunkedArray, feature: FeatureSpec | None = None) -> np.ndarray:
    """Rows of any column without a value, bool `[rows]`: null, a float that is not finite, an empty list.

    Of a `feature` that is a vector also lists with an entry that is null or not finite. These are the rows that the
    preprocessing calls missing.
    """
    kind = values.type
    if pa.types.is_null(kind):
        return np.ones(len(values), dtype=bool)
    if feature is not None and feature.encoding == "vector":
        return ~VectorColumn.of(values, feature.name).present
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        present = pc.greater(pc.list_value_length(values), 0)
    elif pa.types.is_floating(kind):
        present = pc.is_finite(values)
    else:
        present = pc.is_valid(values)
    found: np.ndarray = pc.fill_null(present, False).to_numpy()
    return ~found
