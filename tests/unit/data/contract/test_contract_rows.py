"""Every broken row is found with its reasons, goes to the quarantine file, and none is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_ray.data.contract import ContractConfig, broken_rows, write_quarantine
from mtl_ray.data.contract.label_rules import refused_labels
from mtl_ray.data.contract.quarantine import quarantined_rows
from mtl_ray.data.service_spec import FeatureSpec
from mtl_ray.errors import DataError
from mtl_ray.tasks import BinaryTaskConfig, MulticlassTaskConfig, RegressionTaskConfig, TaskConfig
from tests.unit.data.contract.joined_shop import SPEC, START, TASKS, Bucket, bucket, timestamps


def with_values(shop: Bucket, name: str, values: dict[int, object]) -> Bucket:
    column = shop.table[name].to_pylist()
    for row, value in values.items():
        column[row] = value
    return shop.with_columns(**{name: pa.array(column, shop.table[name].type)})


def test_healthy_rows_all_go_on(shop: Bucket) -> None:
    verdict = broken_rows(shop.table, SPEC, TASKS, ContractConfig())
    assert verdict.ok.all()
    assert verdict.reason.null_count == 600
    assert (verdict.broken, verdict.quarantined, verdict.kept) == (0, {}, {})


def test_each_rule_names_its_rows(shop: Bucket) -> None:
    broken = with_values(shop, "age", {0: -1.0, 1: None, 2: float("inf"), 3: 200.0, 4: 120.0, 5: float("nan")})
    broken = with_values(broken, "price", {0: 5000})
    broken = with_values(broken, "country", {7: None})
    broken = with_values(broken, "recent", {8: [], 9: [3]})
    broken = with_values(broken, "user_id", {10: None})
    broken = with_values(broken, "click", {11: 2.0})
    broken = with_values(broken, "rating", {12: "ugly"})
    broken = broken.with_columns(event_timestamp=timestamps(START + np.arange(600), np.arange(600) == 13))
    config = ContractConfig(
        ranges={"age": (0.0, 120.0), "price": (None, 1000.0)},
        required={"recent": True},
        event_time=(datetime.fromtimestamp((START + 14) / 1e6, UTC), None),
    )
    table = broken.table.set_column(
        broken.table.column_names.index("recent"),
        "recent",
        pa.array([[] if row == 8 else [1] for row in range(600)], pa.list_(pa.int64())),
    )
    verdict = broken_rows(table, SPEC, TASKS, config)
    early = f"event_timestamp is before {datetime.fromtimestamp((START + 14) / 1e6, UTC).isoformat()}"
    expected: dict[int, list[str]] = {row: [early] for row in range(13)} | {13: ["event_timestamp is missing"]}
    expected[0] += ["age is below 0", "price is above 1000"]
    expected[2] += ["age is above 120"]
    expected[3] += ["age is above 120"]
    expected[8] += ["recent is missing (required)"]
    expected[10].insert(0, "user_id is missing (join key)")
    expected[11] += ["label click is refused"]
    expected[12] += ["label rating is refused"]
    assert {row: text.split("; ") for row, text in enumerate(verdict.reason.to_pylist()) if text} == expected
    assert np.flatnonzero(~verdict.ok).tolist() == list(range(14))
    assert verdict.quarantined[early] == 13
    assert verdict.quarantined["age is above 120"] == 2


def test_the_config_wins_over_the_tags(shop: Bucket) -> None:
    broken = with_values(shop, "age", {0: -1.0})
    assert broken_rows(broken.table, SPEC, TASKS, ContractConfig()).quarantined == {"age is below 0": 1}
    assert broken_rows(broken.table, SPEC, TASKS, ContractConfig(ranges={"age": (None, None)})).broken == 0
    required = SPEC.model_copy(
        update={"features": tuple(item.model_copy(update={"required": True}) for item in SPEC.features)}
    )
    gaps = broken_rows(shop.table, required, TASKS, ContractConfig()).quarantined
    assert gaps["country is missing (required)"] == shop.table["country"].null_count > 0
    lifted = ContractConfig(required={"age": False, "country": False, "recent": False})
    assert broken_rows(shop.table, required, TASKS, lifted).broken == 0


def test_rows_that_are_only_warned_of_stay(shop: Bucket) -> None:
    broken = with_values(with_values(shop, "age", {0: -1.0, 1: -2.0}), "click", {1: 7.0})
    verdict = broken_rows(broken.table, SPEC, TASKS, ContractConfig(broken_rows="warn"))
    assert np.flatnonzero(~verdict.ok).tolist() == [1]
    assert verdict.reason[:3].to_pylist() == ["age is below 0", "age is below 0; label click is refused", None]
    assert (verdict.kept, verdict.quarantined) == ({"age is below 0": 2}, {"label click is refused": 1})


def test_range_of_text_is_refused(shop: Bucket) -> None:
    spec = SPEC.model_copy(
        update={"features": (FeatureSpec(name="device", source="context", encoding="categorical", maximum=3.0),)}
    )
    with pytest.raises(DataError, match="'device' has a range but holds no numbers"):
        broken_rows(shop.table, spec, TASKS, ContractConfig())


def test_quarantine_file_holds_the_raw_rows_and_reasons(tmp_path: Path, shop: Bucket) -> None:
    broken = with_values(shop, "age", {3: -1.0, 5: -2.5})
    verdict = broken_rows(broken.table, SPEC, TASKS, ContractConfig())
    path = tmp_path / "quarantine.parquet"
    assert write_quarantine(path, broken.table, verdict) == 2
    written = pq.read_table(path)
    assert written.column_names == [*broken.table.column_names, "reason"]
    assert written.drop_columns(["reason"]).equals(broken.table.take([3, 5]))
    assert written["reason"].to_pylist() == ["age is below 0"] * 2
    assert list(tmp_path.iterdir()) == [path]
    assert write_quarantine(path, shop.table, broken_rows(shop.table, SPEC, TASKS, ContractConfig())) == 0
    assert not path.exists()


def test_own_column_called_reason_is_kept(shop: Bucket) -> None:
    broken = with_values(shop, "age", {3: -1.0})
    table = broken.table.append_column("reason", broken.table["device"])
    rows = quarantined_rows(table, broken_rows(table, SPEC, TASKS, ContractConfig()))
    assert rows["reason"].to_pylist() == [broken.table["device"][3].as_py()]
    assert rows["contract_reason"].to_pylist() == ["age is below 0"]


LABELS: list[tuple[TaskConfig, pa.DataType, st.SearchStrategy]] = [
    (BinaryTaskConfig(), pa.float64(), st.sampled_from([0.0, 1.0, None, 0.5, 2.0, float("nan")])),
    (RegressionTaskConfig(), pa.float64(), st.sampled_from([0.0, -7.5, None, float("inf"), float("nan"), 1e300])),
    (RegressionTaskConfig(transform="log1p"), pa.float64(), st.one_of(st.none(), st.floats(-3, 3, width=32))),
    (MulticlassTaskConfig(classes=("a", "b")), pa.string(), st.sampled_from(["a", "b", None, "c", "d"])),
    (MulticlassTaskConfig(classes=(1, 2)), pa.int64(), st.sampled_from([1, 2, None, 3, 0])),
]


@pytest.mark.parametrize("place", range(len(LABELS)))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_refused_labels_are_those_that_the_task_refuses_one_by_one(place: int, data: st.DataObject) -> None:
    task, kind, strategy = LABELS[place]
    values = data.draw(st.lists(strategy, max_size=25))
    column = pa.chunked_array([pa.array(values, kind)])
    expected = []
    for row in range(len(values)):
        try:
            task.encode_labels(column.slice(row, 1), "label")
            expected.append(False)
        except DataError:
            expected.append(True)
    assert refused_labels(task, column, "label").tolist() == expected


def test_label_column_of_the_wrong_type_is_an_error(shop: Bucket) -> None:
    table = replace(shop, table=shop.table.drop_columns(["click"]).append_column("click", shop.table["device"])).table
    with pytest.raises(DataError, match="'click' does not hold numbers"):
        broken_rows(table, SPEC, TASKS, ContractConfig())


def test_dictionary_columns_are_read() -> None:
    column = pa.chunked_array([pa.array(["a", "x", None, "b", "x"]).dictionary_encode()])
    assert refused_labels(MulticlassTaskConfig(classes=("a", "b")), column, "label").tolist() == [
        False, True, False, False, True,
    ]  # fmt: skip


def test_no_row_at_all() -> None:
    empty = bucket().slice(0, 0)
    verdict = broken_rows(empty.table, SPEC, TASKS, ContractConfig(ranges={"age": (0.0, 1.0)}))
    assert (verdict.ok.size, len(verdict.reason), verdict.broken) == (0, 0, 0)
