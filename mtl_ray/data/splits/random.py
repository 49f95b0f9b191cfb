"""Split at random: every row is drawn by itself."""

from __future__ import annotations

from typing import Literal

import numpy as np

from mtl_ray.data.splits.hash_plan import HashPlan, row_cuts
from mtl_ray.data.splits.hashing import row_hashes, stream_key
from mtl_ray.data.splits.split import TEST, TRAIN, VALIDATION, FractionSettings, Scan, SpinePass, refuse_empty_parts


class RandomSplitConfig(FractionSettings):
    """`{by: random, validation: 0.1, test: 0.1}`: round(10 %) of the rows each, drawn without regard to time.

    The model then trains on rows that are later than those which judge it, and sees the same users in all parts: right
    for rows that do not depend on each other, flattering for a recommender.
    """

    by: Literal["random"] = "random"

    def plan(self, scan: Scan) -> HashPlan:
        key = stream_key("split", self.seed)
        spine = SpinePass(scan, self.columns)
        hashes = spine.collect(lambda table: row_hashes(table, key), np.uint64)
        boundaries = spine.boundaries()
        test = round(spine.rows * self.test)
        validation = round(spine.rows * self.validation)
        refuse_empty_parts(
            (spine.rows - validation - test, validation, test),
            f"at random into validation {self.validation} and test {self.test}",
        )
        cuts = row_cuts(hashes, (test, test + validation))
        return HashPlan(boundaries, key, None, cuts, (TEST, VALIDATION, TRAIN))
