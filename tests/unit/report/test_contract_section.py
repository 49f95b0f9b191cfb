"""The data contract in the report: what deserves attention, every feature and view, and the labels of each day."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mtl_ray.data.contract import ContractConfig, ContractResult
from mtl_ray.errors import CheckpointError
from mtl_ray.report.charts.daily import class_rates, label_rate
from mtl_ray.report.page import write_report
from tests.unit.data.contract.joined_shop import bucket

MakeRun = Callable[..., Path]
TASKS = {
    "click": {"type": "binary"},
    "rating": {"type": "multiclass", "classes": ["bad", "good"]},
    "amount": {"type": "regression"},
}


@pytest.fixture
def run(make_run: MakeRun) -> Path:
    return make_run(tasks=TASKS, evaluated=False, epochs=1, best=1)


def result_with_problems() -> ContractResult:
    rows = bucket(4000)
    prices = rows.table["price"].to_numpy()
    ages = rows.table["age"].to_pylist()
    ages[:3] = [-1.0, -2.0, -3.0]
    moved = rows.with_columns(
        price=pa.array(np.where(rows.parts == 2, prices + 900, prices)), age=pa.array(ages, pa.float64())
    )
    return moved.result(ContractConfig(ranges={"age": (0.0, 130.0), "price": (None, 1e6)}))


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html.replace("<wbr>", "")).split())


def test_what_deserves_attention_and_all_the_rest(run: Path) -> None:
    result = result_with_problems()
    result.write(run)
    html = write_report(run).read_text()
    text = words(html)
    assert "4,000 joined rows were checked; 3 (0.075 %) broke a hard rule" in text
    assert "2 points deserve attention." in text
    drift = next(finding for finding in result.of("warn") if finding.rule == "drift")
    assert drift.found in text
    assert str(drift.fix) in text
    assert "age is below 0 3" in text
    price = next(feature for feature in result.features if feature.name == "price")
    assert f"{price.psi:.3f}" in text
    assert "0 to 130" in text
    assert "any to 1,000,000" in text
    users = next(view for view in result.views if view.name == "users")
    assert users.matched is not None
    assert f"users {100 * users.matched:.1f} %" in text
    assert "24 hours" in text
    assert text.index("price items int64") < text.index("age users double")
    for task in TASKS:
        assert f'aria-label="Labels of {task} by day"' in html
    for drawing in re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL):
        ElementTree.fromstring(drawing)
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    assert write_report(run).read_text() == html


def test_healthy_rows_say_so(run: Path) -> None:
    bucket(4000, seed=1).result().write(run)
    text = words(write_report(run).read_text())
    assert "4,000 joined rows were checked. All in order." in text
    assert "Quarantined rows" not in text


def test_join_that_tells_no_times_has_no_columns_for_them(run: Path) -> None:
    rows = bucket(400)
    columns = ["users__feature_timestamp", "items__feature_timestamp"]
    type(rows)(rows.table.drop_columns(columns), rows.parts).result().write(run)
    assert "Age, median" not in words(write_report(run).read_text())


def test_run_without_a_contract_has_no_such_section(run: Path) -> None:
    assert "Data contract" not in write_report(run).read_text()


@pytest.mark.parametrize("content", ["{", '{"rows": {}}'])
def test_damaged_contract_is_named(run: Path, content: str) -> None:
    (run / "contract.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"contract\.json is damaged"):
        write_report(run)


def test_names_are_escaped(run: Path) -> None:
    result = result_with_problems()
    attack = result.findings[0].model_copy(update={"subject": "<script>alert(1)</script>"})
    result.model_copy(update={"findings": (attack,)}).write(run)
    html = write_report(run).read_text()
    assert html.count("<script>") == 1
    assert "alert(1)" in html


@pytest.mark.parametrize("number", [1, 2, 45, 400])
def test_charts_of_any_number_of_days(number: int) -> None:
    days = [date(2026, 1, 1) + timedelta(days=place) for place in range(number)]
    means = [None if place == 1 else 0.1 + place / 1e4 for place in range(number)]
    rate = label_rate(days, means, [0] * number, share=True, key="a", label="Rate")
    shares = [None if mean is None else (mean, 0.3, 0.2, 0.2, 0.3 - mean) for mean in means]
    classes = class_rates(days, shares, ["one", "two", "three", "a very long name", "five"], key="b", label="Classes")
    for markup in (rate, classes):
        ElementTree.fromstring(markup)
    assert "01-01" in rate or "2026-01" in rate
    assert "● a very lo" in classes
    assert "● one" not in classes  # the rarest of five
