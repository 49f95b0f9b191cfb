"""The sides, as `tests.benchmarks.measure` runs them, and the preparation of a data set."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.measure import Side
from tests.benchmarks.point_in_time_join.dataset import Dataset
from tests.benchmarks.point_in_time_join.duckdb_asof import duckdb_asof
from tests.benchmarks.point_in_time_join.feast_stores import STORES, apply_registry, feast_join, join_to_parquet
from tests.benchmarks.point_in_time_join.polars_asof import polars_asof
from tests.benchmarks.point_in_time_join.reference import compare, write_reference

OURS = "ours"
FEAST = ("feast_dask", "feast_duckdb", "feast_ray")
BARE = ("bare_duckdb", "bare_polars")
WARM_UP_ROWS = 64
_BARE: dict[str, Callable[[Dataset], pa.Table]] = {"bare_duckdb": duckdb_asof, "bare_polars": polars_asof}


def join(dataset: Dataset, side: str) -> pa.Table:
    """The join of `dataset` by `side`."""
    return feast_join(dataset, side) if side in STORES else _BARE[side](dataset)


@dataclass(frozen=True)
class JoinSide:
    """Parquet to Arrow in memory."""

    side: str
    dataset: Dataset
    tiny: Dataset

    def warm_up(self) -> None:
        """A join of a few rows, so that what libraries import on first use is not timed."""
        if self.side == "feast_ray":
            import ray

            ray.init(logging_level="ERROR")
        else:
            join(self.tiny, self.side)

    def run(self) -> pa.Table:
        """The join."""
        return join(self.dataset, self.side)

    def check(self, result: pa.Table) -> dict[str, Any]:
        """Against the reference."""
        return compare(self.dataset, result).as_figures()


@dataclass(frozen=True)
class BudgetSide:
    """Ours, Parquet to Parquet with a fixed memory budget."""

    budget: str
    dataset: Dataset
    tiny: Dataset

    def warm_up(self) -> None:
        """As `JoinSide`."""
        shutil.rmtree(join_to_parquet(self.tiny, self.budget, self.tiny.folder / f"out_{self.budget}"))

    def run(self) -> Path:
        """The join."""
        return join_to_parquet(self.dataset, self.budget, self.dataset.folder / f"out_{self.budget}")

    def check(self, result: Path) -> dict[str, Any]:
        """Against the reference; the output is removed."""
        figures = compare(self.dataset, pq.read_table(result)).as_figures()
        shutil.rmtree(result)
        return figures


@dataclass(frozen=True)
class Preparation:
    """Writing of data sets, their references and registries, in a process that ends with its memory."""

    datasets: tuple[Dataset, ...]

    def warm_up(self) -> None:
        """Nothing."""

    def run(self) -> None:
        """Write what is not there."""
        for dataset in self.datasets:
            if not dataset.folder.exists():
                dataset.write()
            write_reference(dataset)
            apply_registry(dataset)

    def check(self, result: None) -> dict[str, Any]:  # noqa: ARG002
        """Nothing."""
        return {}


def dataset_at(folder: str | Path, kind: str, rows: int) -> Dataset:
    """The data set of that kind and size below `folder`."""
    return Dataset(Path(folder) / f"{kind}_{rows}", kind, rows)


def preparation(folder: str, kind: str, rows: int) -> Side:
    """Target of `measure`."""
    return Preparation((dataset_at(folder, kind, rows), dataset_at(folder, kind, WARM_UP_ROWS)))


def join_side(folder: str, kind: str, rows: int, side: str) -> Side:
    """Target of `measure`."""
    return JoinSide(side, dataset_at(folder, kind, rows), dataset_at(folder, kind, WARM_UP_ROWS))


def budget_side(folder: str, kind: str, rows: int, budget: str) -> Side:
    """Target of `measure`."""
    return BudgetSide(budget, dataset_at(folder, kind, rows), dataset_at(folder, kind, WARM_UP_ROWS))
