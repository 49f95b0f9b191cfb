"""Joined rows of a small shop, as the point-in-time join leaves them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mtl_ray.data.contract import ContractConfig, ContractResult, ContractState, broken_rows, summarise
from mtl_ray.data.labels import encode_labels
from mtl_ray.data.service_spec import FeatureSpec, ServiceSpec, ViewSpec
from mtl_ray.tasks import BinaryTaskConfig, MulticlassTaskConfig, RegressionTaskConfig, TaskConfig

DAY = 86_400_000_000
START = 1_772_323_200_000_000
"""2026-03-01, in microseconds."""

TASKS: dict[str, TaskConfig] = {
    "click": BinaryTaskConfig(),
    "rating": MulticlassTaskConfig(classes=("bad", "good")),
    "amount": RegressionTaskConfig(transform="log1p", observed_when="click"),
}


def view(name: str, **join_keys: str) -> ViewSpec:
    return ViewSpec(
        name=name,
        join_keys=join_keys,
        ttl_seconds=86_400.0,
        source=f"{name}_source",
        path=f"data/{name}.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column=None,
    )


SPEC = ServiceSpec(
    project="shop",
    service="ranking",
    features=(
        FeatureSpec(name="user_id", source="key", dtype="Int64", encoding="categorical", vocabulary="user_id"),
        FeatureSpec(name="age", source="view", view="users", dtype="Float64", encoding="numeric", minimum=0.0),
        FeatureSpec(
            name="country", source="view", view="users", dtype="String", encoding="categorical", vocabulary="country"
        ),
        FeatureSpec(
            name="recent", source="view", view="users", dtype="Array(Int64)", encoding="list", vocabulary="item_id"
        ),
        FeatureSpec(name="price", source="view", view="items", dtype="Int64", encoding="numeric"),
        FeatureSpec(name="device", source="context", encoding="categorical", vocabulary="device"),
    ),
    join_keys={"user_id": "Int64", "item_id": "Int64"},
    views=(view("users", user_id="user_id"), view("items", item_id="item_id")),
)


@dataclass(frozen=True)
class Bucket:
    """Joined rows, and the part of each."""

    table: pa.Table
    parts: np.ndarray

    def slice(self, begin: int, end: int) -> Bucket:
        return Bucket(self.table.slice(begin, end - begin), self.parts[begin:end])

    def state(self, config: ContractConfig | None = None, spec: ServiceSpec = SPEC) -> ContractState:
        """What the pipeline does with a bucket."""
        verdict = broken_rows(self.table, spec, TASKS, config or ContractConfig())
        table = self.table.filter(pa.array(verdict.ok))
        return ContractState.of(table, self.parts[verdict.ok], encode_labels(table, TASKS), TASKS, spec, verdict)

    def result(self, config: ContractConfig | None = None, spec: ServiceSpec = SPEC) -> ContractResult:
        config = config or ContractConfig()
        return summarise([self.state(config, spec)], spec, TASKS, config)

    def with_columns(self, **columns: object) -> Bucket:
        table = self.table
        for name, values in columns.items():
            table = table.set_column(table.column_names.index(name), name, values)
        return Bucket(table, self.parts)


def timestamps(microseconds: np.ndarray, missing: np.ndarray | None = None) -> pa.Array:
    return pa.array(microseconds, pa.int64(), mask=missing).cast(pa.timestamp("us", "UTC"))


def bucket(rows: int = 600, seed: int = 0, days: int = 10) -> Bucket:
    """Healthy rows in the order of time: 80 % train, 10 % validation, 10 % test."""
    generator = np.random.default_rng(seed)
    times = np.sort(START + generator.integers(0, days * DAY, rows))
    unmatched = generator.random(rows) < 0.1
    ages = generator.integers(0, DAY, rows)
    click = (generator.random(rows) < 0.3).astype(float)
    amounts = np.round(generator.gamma(2.0, 13.0, rows), 2)
    lists = [
        None if gone else generator.integers(1, 40, generator.integers(0, 5)).tolist() for gone in unmatched.tolist()
    ]
    columns: Mapping[str, pa.Array] = {
        "user_id": pa.array(generator.integers(1, 200, rows)),
        "item_id": pa.array(generator.integers(1, 40, rows)),
        "event_timestamp": timestamps(times),
        "click": pa.array(click),
        "rating": pa.array(generator.choice(["bad", "good"], rows)),
        "amount": pa.array(amounts, mask=click == 0.0),
        "device": pa.array(generator.choice(["phone", "desk"], rows)),
        "row_id": pa.array(np.arange(rows)),
        "age": pa.array(np.round(generator.normal(40, 9, rows).clip(min=1), 1), mask=unmatched),
        "country": pa.array(generator.choice(["DE", "FR", "IT"], rows, p=[0.6, 0.3, 0.1]), mask=unmatched),
        "recent": pa.array(lists, pa.list_(pa.int64())),
        "price": pa.array(generator.integers(1, 900, rows)),
        "users__feature_timestamp": timestamps(times - ages, unmatched),
        "items__feature_timestamp": timestamps(times - 3_600_000_000),
    }
    parts = np.repeat(np.array([0, 1, 2], dtype=np.int8), [rows - 2 * (rows // 10), rows // 10, rows // 10])
    return Bucket(pa.table(columns), parts)
