"""Split by group: a user that tests has never been trained on."""

from __future__ import annotations

from typing import Literal

import numpy as np

from mtl_ray.data.splits.hash_plan import HashPlan, group_cuts
from mtl_ray.data.splits.hashing import group_hashes, stream_key
from mtl_ray.data.splits.split import TEST, TRAIN, VALIDATION, FractionSettings, Scan, SpinePass


class GroupSplitConfig(FractionSettings):
    """`{by: group, column: user_id, validation: 0.1, test: 0.1}`: all rows of one user in one part.

    Users are drawn until their rows make up the fraction, to within the rows of one user.
    """

    by: Literal["group"] = "group"
    column: str
    """Integer or text column of the spine without nulls: a join key, a context column or any other."""

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def plan(self, scan: Scan) -> HashPlan:
        """Raises `DataError`, beside the others, for nulls in the column and for fewer than three groups."""
        key = stream_key("split", self.seed)
        spine = SpinePass(scan, self.columns)
        hashes = spine.collect(lambda table: group_hashes(table, self.column, key), np.uint64)
        boundaries = spine.boundaries()
        test = round(spine.rows * self.test)
        cuts = group_cuts(hashes, (test, test + round(spine.rows * self.validation)), self.column)
        return HashPlan(boundaries, key, self.column, cuts, (TEST, VALIDATION, TRAIN))
