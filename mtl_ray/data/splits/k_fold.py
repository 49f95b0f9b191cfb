"""Cross-validation: K folds that test in turn."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from mtl_ray.data.splits.hash_plan import HashPlan, group_cuts, row_cuts
from mtl_ray.data.splits.hashing import group_hashes, row_hashes, stream_key
from mtl_ray.data.splits.split import TEST, TRAIN, VALIDATION, WHERE, Scan, Seed, SpinePass, SplitSettings
from mtl_ray.errors import DataError


class KFoldSplitConfig(SplitSettings):
    """`{by: k_fold, folds: 5, fold: 0}`: fold 0 tests, the next one validates (after the last comes the first), the
    others train. Over all values of `fold` every row tests exactly once, and validates exactly once."""

    by: Literal["k_fold"] = "k_fold"
    folds: Annotated[int, Field(ge=3, le=1000)]
    fold: Annotated[int, Field(ge=0)]
    """0 to folds - 1."""
    column: str | None = None
    """Keeps all rows of one value of this integer or text column in one fold, as `by: group` does; null: folds of
    single rows, equal in size to one row."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _fold_exists(self) -> KFoldSplitConfig:
        if self.fold >= self.folds:
            raise ValueError(f"fold must be between 0 and folds - 1 = {self.folds - 1}, found {self.fold}")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        return () if self.column is None else (self.column,)

    def plan(self, scan: Scan) -> HashPlan:
        """Raises `DataError`, beside the others, for nulls in the column and for fewer rows or groups than folds."""
        key = stream_key("split", self.seed)
        spine = SpinePass(scan, self.columns)
        column = self.column
        hashes = spine.collect(
            lambda table: row_hashes(table, key) if column is None else group_hashes(table, column, key), np.uint64
        )
        boundaries = spine.boundaries()
        if spine.rows < self.folds:
            raise DataError(
                "The spine has fewer rows than the split has folds.",
                where=f"{WHERE}.folds",
                found=f"{spine.rows} rows, {self.folds} folds",
                allowed="at least one row a fold",
                fix="fewer folds, or more rows in the spine",
            )
        ranks = [spine.rows * fold // self.folds for fold in range(1, self.folds)]
        cuts = row_cuts(hashes, ranks) if column is None else group_cuts(hashes, ranks, column)
        parts = [TRAIN] * self.folds
        parts[self.fold] = TEST
        parts[(self.fold + 1) % self.folds] = VALIDATION
        return HashPlan(boundaries, key, column, cuts, tuple(parts))
