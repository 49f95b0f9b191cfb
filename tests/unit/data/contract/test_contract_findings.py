"""What a healthy run, and each way of being broken, leads to."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from rich.console import Console

from mtl_ray.data.contract import (
    ContractConfig,
    ContractResult,
    ContractState,
    Finding,
    check,
    check_names,
    check_types,
    contract_table,
    summarise,
)
from mtl_ray.data.contract.table import MOST_ROWS
from mtl_ray.errors import ConfigError, DataError
from mtl_ray.schema import Settings
from tests.unit.data.contract.joined_shop import DAY, SPEC, START, TASKS, Bucket, bucket, timestamps


def only(result: ContractResult, rule: str, severity: str) -> Finding:
    [finding] = [finding for finding in result.findings if finding.rule == rule and finding.severity == severity]
    return finding


def config(**rules: object) -> ContractConfig:
    return ContractConfig.model_validate(rules)


def nothing(shop: Bucket, *columns: str) -> Bucket:
    return shop.with_columns(**{name: pa.nulls(shop.table.num_rows, shop.table[name].type) for name in columns})


def printed(result: ContractResult, every_finding: bool = False) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(contract_table(result, every_finding))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_healthy_rows_have_nothing_to_say() -> None:
    result = bucket(4000, seed=1).result()
    assert {finding.severity for finding in result.findings} == {"ok"}
    assert {finding.rule for finding in result.findings} == {"row rules", "type", "view matched", "missing", "drift"}
    check(result)
    assert "4,000 rows, 6 features, 2 views: all in order; 0 rows quarantined" in printed(result)
    assert "at least 90" in printed(result, every_finding=True)


def test_document_comes_back_from_json(tmp_path: Path, shop: Bucket) -> None:
    result = shop.result()
    path = result.write(tmp_path)
    assert path.name == "contract.json"
    assert ContractResult.model_validate_json(path.read_bytes()) == result


def test_view_that_matched_nothing_stops(shop: Bucket) -> None:
    lost = nothing(shop, "age", "country", "recent").with_columns(
        users__feature_timestamp=timestamps(np.zeros(600, np.int64), np.ones(600, bool))
    )
    result = lost.result()
    finding = only(result, "view matched", "stop")
    assert finding.subject == "users"
    assert finding.found == "no feature in any row; 0 % of the rows met a row of the view"
    # Its features are not complained of one by one.
    assert [found.severity for found in result.findings if found.rule in ("missing", "drift")] == ["ok", "ok"]
    with pytest.raises(DataError) as caught:
        check(result)
    assert "users: view matched, no feature in any row" in str(caught.value)
    assert "does data/users.parquet hold these user_id," in str(caught.value)
    relaxed = config(unmatched={"then": "warn"})
    check(lost.result(relaxed))
    assert only(lost.result(relaxed), "view matched", "warn").subject == "users"


def test_view_is_judged_without_times_too(shop: Bucket) -> None:
    lost = nothing(shop, "price")
    silent = Bucket(lost.table.drop_columns(["users__feature_timestamp", "items__feature_timestamp"]), lost.parts)
    assert only(silent.result(), "view matched", "stop").subject == "items"


def test_a_few_matched_rows_are_enough_where_the_config_says_so() -> None:
    rows = bucket(2000)
    rare = nothing(rows, "price").with_columns(price=pa.array([5] + [None] * 1999, pa.int64()))
    assert only(rare.result(), "view matched", "stop").found.startswith("no feature in 99.95 % of the rows")
    lenient = rare.result(config(unmatched={"views": {"items": 1.0}}))
    assert lenient.of("stop") == ()
    assert only(lenient, "missing", "warn").subject == "price"


def test_too_many_quarantined_rows_stop(shop: Bucket) -> None:
    ages = pa.array([-1.0] * 30 + [30.0] * 570)
    at_limit = shop.with_columns(age=ages).result()
    finding = only(at_limit, "row rules", "warn")
    assert finding.found == "30 of 600 rows quarantined (5 %): age is below 0 (30)"
    assert (at_limit.quarantined, at_limit.reasons) == (30, {"age is below 0": 30})
    check(at_limit)
    above = shop.with_columns(age=pa.array([-1.0] * 31 + [30.0] * 569)).result()
    with pytest.raises(DataError, match=r"31 of 600 rows quarantined \(5.17 %\)") as caught:
        check(above, Path("somewhere/quarantine"))
    assert "the quarantined rows lie in somewhere/quarantine" in str(caught.value)
    check(shop.with_columns(age=pa.array([-1.0] * 31 + [30.0] * 569)).result(config(max_quarantined=0.1)))


def test_any_broken_row_stops_where_the_config_says_so(shop: Bucket) -> None:
    one = shop.with_columns(age=pa.array([-1.0] + [30.0] * 599))
    with pytest.raises(DataError, match="1 of 600 rows quarantined"):
        check(one.result(config(broken_rows="stop")))
    check(shop.result(config(broken_rows="stop")))
    kept = one.result(config(broken_rows="warn"))
    assert kept.rows["train"] == 480
    assert {finding.found for finding in kept.of("warn") if finding.rule == "row rules"} == {
        "1 rows that stay in: age is below 0"
    }


def test_every_row_quarantined(shop: Bucket) -> None:
    result = shop.with_columns(age=pa.array([-1.0] * 600)).result()
    assert sum(result.rows.values()) == 0
    with pytest.raises(DataError, match=r"600 of 600 rows quarantined \(100 %\)"):
        check(result)


def test_column_of_the_wrong_type(shop: Bucket) -> None:
    wrong = shop.with_columns(price=pa.array(["cheap"] * 600))
    with pytest.raises(DataError) as caught:
        check_types(wrong.table.schema, SPEC.features, ContractConfig())
    assert "price of type string" in str(caught.value)
    assert "price: Int64" in str(caught.value)
    check_types(wrong.table.schema, SPEC.features, config(types="warn"))
    check_types(shop.table.schema, SPEC.features, ContractConfig())
    finding = only(wrong.result(), "type", "stop")
    assert (finding.subject, finding.found, finding.allowed) == ("price", "a column of type string", "Int64")
    assert next(feature for feature in wrong.result().features if feature.name == "price").psi is None


@pytest.mark.parametrize(
    ("kind", "dtype", "fitting"),
    [
        (pa.int32(), "Int64", True),
        (pa.uint32(), "Int64", True),
        (pa.uint64(), "Int64", False),
        (pa.int64(), "Int32", False),
        (pa.float64(), "Int64", False),
        (pa.int64(), "Float64", True),
        (pa.decimal128(10, 2), "Float64", True),
        (pa.string(), "Float64", False),
        (pa.large_string(), "String", True),
        (pa.dictionary(pa.int32(), pa.string()), "String", True),
        (pa.int64(), "String", False),
        (pa.int64(), "Bool", False),
        (pa.null(), "String", True),
        (pa.list_(pa.int32()), "Array(Int64)", True),
        (pa.list_(pa.string()), "Array(Int64)", False),
        (pa.int64(), "Array(Int64)", False),
    ],
)
def test_what_holds_what(kind: pa.DataType, dtype: str, fitting: bool) -> None:
    feature = SPEC.features[4].model_copy(update={"name": "x", "dtype": dtype})
    schema = pa.schema([pa.field("x", kind)])
    if fitting:
        check_types(schema, [feature], ContractConfig())
    else:
        with pytest.raises(DataError, match="declares"):
            check_types(schema, [feature], ContractConfig())


def test_missing_values(shop: Bucket) -> None:
    gaps = pa.array([None if shop.parts[row] == 2 or row % 2 else 5 for row in range(600)], pa.int64())
    rules = config(missing={"limit": 0.6, "then": "stop", "features": {"age": 0.01}})
    result = shop.with_columns(price=gaps).result(rules)
    stops = {finding.subject: finding for finding in result.of("stop")}
    assert set(stops) == {"price", "age"}
    assert stops["price"].found == "100 % of test"
    assert stops["price"].allowed == "at most 60 %"
    assert stops["age"].allowed == "at most 1 %"


def test_freshness(shop: Bucket) -> None:
    result = shop.result(config(freshness={"max_age": 7200, "views": {"users": "P2D"}}))
    assert [found.subject for found in result.findings if found.rule == "freshness"] == ["2 views"]
    stale = shop.result(config(freshness={"max_age": "PT12H", "then": "stop"}))
    finding = only(stale, "freshness", "stop")
    assert finding.subject == "users"
    assert finding.allowed == "12 hours for 99 %"
    assert 12 < float(finding.found.split()[-2]) <= 24


def test_freshness_that_cannot_be_judged_is_said(shop: Bucket) -> None:
    silent = Bucket(shop.table.drop_columns(["users__feature_timestamp", "items__feature_timestamp"]), shop.parts)
    result = silent.result(config(freshness={"views": {"users": 60}}))
    assert only(result, "freshness", "warn").found.startswith("not judged")
    assert [found for found in silent.result().findings if found.rule == "freshness"] == []


def test_view_whose_features_only_an_on_demand_view_reads(shop: Bucket) -> None:
    """Of `items` no feature enters the model, so only the times tell whether it matched."""
    spec = SPEC.model_copy(update={"features": tuple(item for item in SPEC.features if item.name != "price")})
    assert shop.result(spec=spec).views[1].empty is None
    lost = shop.with_columns(items__feature_timestamp=timestamps(np.zeros(600, np.int64), np.ones(600, bool)))
    finding = only(lost.result(spec=spec), "view matched", "stop")
    assert finding.subject == "items"
    assert finding.found == "0 % of the rows met a row of the view"


def test_a_feature_row_from_the_future_always_stops(shop: Bucket) -> None:
    leak = shop.with_columns(items__feature_timestamp=timestamps(np.full(600, START + 30 * DAY)))
    finding = only(leak.result(), "no leak", "stop")
    assert finding.subject == "items"
    assert "days later than the example" in finding.found


def test_drift_warns_and_stops_where_configured() -> None:
    rows = bucket(4000)
    prices = rows.table["price"].to_numpy()
    moved = rows.with_columns(price=pa.array(np.where(rows.parts == 2, prices + 900, prices)))
    finding = only(moved.result(), "drift", "warn")
    assert finding.subject == "price"
    assert finding.allowed == "0.25"
    check(moved.result())
    with pytest.raises(DataError, match="price: drift, PSI"):
        check(moved.result(config(drift={"then": "stop"})))
    tolerant = moved.result(config(drift={"then": "stop", "features": {"price": 50.0}}))
    assert [found.severity for found in tolerant.findings if found.rule == "drift"] == ["ok"]
    slight = rows.with_columns(price=pa.array(np.where(rows.parts == 2, prices * 0.8, prices).astype(np.int64)))
    result = slight.result(config(drift={"then": "stop", "warn": 0.02, "alarm": 2.0}))
    assert only(result, "drift", "warn").allowed == "0.02"


def test_missing_values_explain_drift() -> None:
    rows = bucket(4000)
    prices = rows.table["price"].to_pylist()
    gaps = [
        None if part == 2 and row % 2 else price
        for row, (part, price) in enumerate(zip(rows.parts, prices, strict=True))
    ]
    finding = only(rows.with_columns(price=pa.array(gaps)).result(), "drift", "warn")
    assert finding.fix == "it is missing in 0 % of train and 50 % of test: is the source complete?"


def test_label_rates() -> None:
    rows = bucket(6000)
    days = (rows.table["event_timestamp"].cast(pa.int64()).to_numpy() - START) // DAY
    clicks = rows.with_columns(click=pa.array(np.where(days == 4, 1.0, rows.table["click"].to_numpy())))
    result = clicks.result(config(label_rates={"bounds": {"click": [0.1, 0.5]}, "then": "stop"}))
    finding = only(result, "label rate", "stop")
    assert finding.found == "1 of 10 days out of bounds: 1 on 2026-03-05"
    fine = rows.result(config(label_rates={"bounds": {"click": [0.1, 0.5]}}))
    assert only(fine, "label rate", "ok").found == "in bounds on all 10 days with 100 labels"
    clicked = rows.table["click"].to_pylist()
    late = rows.with_columns(
        click=pa.array([None if day == 9 else value for day, value in zip(days, clicked, strict=True)])
    )
    gap = [found for found in late.result().of("warn") if found.rule == "labels a day"]
    assert {found.subject for found in gap} == {"click", "amount"}
    assert all("none on 2026-03-10" in found.found for found in gap)


def test_screen_shows_the_worst_and_says_how_many_more() -> None:
    rows = bucket(600)
    result = rows.result()
    many = [
        Finding(severity="warn", subject=f"feature_{number}", rule="drift", found="[1] PSI 0.3", allowed="0.1")
        for number in range(MOST_ROWS + 5)
    ]
    text = printed(result.model_copy(update={"findings": (*many, *result.findings)}))
    assert "and 5 more" in text
    assert "feature_11" in text
    assert "feature_12" not in text
    assert "[1] PSI 0.3" in text
    assert f"{MOST_ROWS + 5} warnings" in text


@pytest.mark.parametrize(
    ("rules", "where", "found", "fix"),
    [
        ({"ranges": {"prise": [0, 1]}}, "ranges", "prise", "'price'"),
        ({"ranges": {"country": [0, 1]}}, "ranges", "country", None),
        ({"ranges": {"recent": [0, 1]}}, "ranges", "recent", None),
        ({"required": {"contry": True}}, "required", "contry", "'country'"),
        ({"missing": {"features": {"ag": 0.5}}}, "missing.features", "ag", "'age'"),
        ({"drift": {"features": {"devize": 0.5}}}, "drift.features", "devize", "'device'"),
        ({"freshness": {"views": {"user": 5}}}, "freshness.views", "user", "'users'"),
        ({"unmatched": {"views": {"itms": 1.0}}}, "unmatched.views", "itms", "'items'"),
        ({"label_rates": {"bounds": {"clik": [0, 1]}}}, "label_rates.bounds", "clik", "'click'"),
        ({"label_rates": {"bounds": {"rating": [0, 1]}}}, "label_rates.bounds", "rating", None),
    ],
)
def test_names_that_do_not_exist(rules: dict[str, object], where: str, found: str, fix: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        check_names(config(**rules), SPEC, TASKS)
    assert caught.value.where == f"training_set.contract.{where}"
    assert caught.value.found == found
    if fix is not None:
        assert fix in str(caught.value.fix)


def test_names_that_exist() -> None:
    check_names(
        config(
            ranges={"price": [0, None], "user_id": [1, None]},
            required={"device": True},
            freshness={"views": {"users": 60}},
            label_rates={"bounds": {"amount": [0, 100]}},
        ),
        SPEC,
        TASKS,
    )


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"ranges": {"price": [3, 2]}}, "price: the smaller number comes first"),
        ({"label_rates": {"bounds": {"click": [0.3, 0.2]}}}, "click: the smaller number comes first"),
        ({"event_time": ["2026-01-01T00:00:00", None]}, "needs a time zone"),
        ({"event_time": ["2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z"]}, "the earlier time comes first"),
        ({"drift": {"alarm": -1}}, "greater than 0"),
        ({"freshness": {"max_age": 0}}, "greater than"),
        ({"drfit": {}}, "Extra inputs"),
    ],
)
def test_configs_that_make_no_sense(rules: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**rules)


def test_config_comes_back_from_json() -> None:
    rules = config(
        freshness={"max_age": "P2D"}, event_time=["2026-01-01T00:00:00+01:00", None], ranges={"price": [0, None]}
    )
    assert rules.freshness.max_age == timedelta(days=2)
    assert rules.event_time[0] == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert isinstance(rules, Settings)
    assert ContractConfig.model_validate_json(rules.model_dump_json()) == rules


def test_findings_over_buckets_are_those_of_the_whole() -> None:
    rows = bucket(900)
    prices = rows.table["price"].to_numpy()
    moved = rows.with_columns(price=pa.array(np.where(rows.parts == 2, prices + 900, prices)))
    cut = [moved.slice(0, 500), moved.slice(500, 900)]
    states: list[ContractState] = [part.state() for part in cut]
    assert summarise(states, SPEC, TASKS, ContractConfig()) == moved.result()
    assert moved.result().of("warn")
