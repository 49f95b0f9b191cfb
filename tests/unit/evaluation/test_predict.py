"""Predictions hold each row of the part once, or are not evaluated."""

from __future__ import annotations

import pyarrow as pa
import pytest

from mtl_ray.errors import MtlRayError
from mtl_ray.evaluation.predict import check_complete


def test_every_row_once() -> None:
    check_complete(pa.table({"row_id": [3, 4, 7]}), "test", 3)


@pytest.mark.parametrize(
    ("row_ids", "message"),
    [
        ([3, 7], "2 rows for 3, 0 of them repeated"),
        ([3, 4, 4], "3 rows for 3, 1 of them repeated"),
        ([3, 4, 4, 7], "4 rows for 3, 1 of them repeated"),
    ],
)
def test_a_lost_or_repeated_row_is_told(row_ids: list[int], message: str) -> None:
    with pytest.raises(MtlRayError, match=f"predictions of test are not exact: {message}"):
        check_complete(pa.table({"row_id": row_ids}), "test", 3)
