"""A comparison for the eye: the sentence, the table on the terminal and the page."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mtl_ray.comparison.compare import check_split, compare
from mtl_ray.comparison.page import render, write_page
from mtl_ray.comparison.result import Comparison, Training
from mtl_ray.comparison.table import comparison_table
from mtl_ray.comparison.wording import verdict_sentence
from mtl_ray.errors import ConfigError
from mtl_ray.evaluation.differences import Difference
from mtl_ray.evaluation.results import MetricValue
from tests.unit.comparison.configs import config


def difference(of: str, against: str, metric: str, values: tuple[float, float], **changes: Any) -> Difference:
    value, reference = values
    found = value - reference
    item = Difference(
        task="click",
        metric=metric,
        of=of,
        against=against,
        value=value,
        reference=reference,
        difference=found,
        low=found - 0.01,
        high=found + 0.01,
        verdict="within noise",
    )
    return item.model_copy(update=changes)


def training(name: str, auc: float, loss: float, folder: Path, **changes: Any) -> Training:
    tasks = {"click": {"roc_auc": MetricValue(value=auc), "log_loss": MetricValue(value=loss)}}
    run = str(folder / "runs" / f"{name}-1")
    made = Training(name=name, model="mmoe", run=run, seconds=12.0, parameters=1234, tasks=tasks)
    return made.model_copy(update=changes)


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    return Comparison(
        name="base<b>",
        created=datetime(2026, 11, 25, tzinfo=UTC),
        split="test",
        training_set="runs/training_sets/shop-1",
        rows=12_345,
        resampled="user_id",
        replicates=200,
        confidence=0.95,
        trainings=(
            training("base<b>", 0.70, 0.5, tmp_path),
            training("wide[x]", 0.75, 0.45, tmp_path),
            training("broken", 0.0, 0.0, tmp_path, run=None, error="Training diverged: <nan>", tasks={}),
            training("twin", 0.74, 0.46, tmp_path, twin_of="click"),
        ),
        differences=(
            difference("wide[x]", "base<b>", "roc_auc", (0.75, 0.70), verdict="better"),
            difference("wide[x]", "base<b>", "log_loss", (0.45, 0.5), verdict="better"),
        ),
        transfer=(
            difference("base<b>", "twin", "roc_auc", (0.70, 0.74), verdict="worse"),
            difference("base<b>", "twin", "log_loss", (0.5, 0.46), low=None, high=None, verdict="not defined"),
            difference("wide[x]", "twin", "roc_auc", (0.75, 0.74)),
            difference("wide[x]", "twin", "log_loss", (0.45, 0.46), verdict="better"),
        ),
        folder=str(tmp_path / "runs" / "comparisons" / "c1"),
    )


def test_the_sentence_says_who_is_harmed_and_who_failed(comparison: Comparison) -> None:
    assert comparison.harmed == {"base<b>": ["click"]}
    assert comparison.helped == {}  # the first metric decides
    assert verdict_sentence(comparison) == (
        "broken failed. Sharing in base<b> harms click. Sharing in wide[x] neither harms nor helps any task. "
        "wide[x] beats base<b> in click."
    )
    assert comparison.summary()["failed"] == {"broken": "Training diverged: <nan>"}


def test_the_table_shows_values_and_differences(comparison: Comparison) -> None:
    console = Console(width=110, force_terminal=False)
    with console.capture() as captured:
        console.print(comparison_table(comparison))
    text = captured.get()
    assert re.search(r"click +roc_auc +base<b> +0\.700 *\n", text)
    assert re.search(r"wide\[x\] − base<b> +0\.750 +\+0\.0500 +\+0\.0400, \+0\.0600 +better", text)
    assert re.search(r"its twin +0\.740", text)
    assert re.search(r"base<b> − its twin +−0\.0400 +−0\.0500, −0\.0300 +harmed", text)
    assert re.search(r"log_loss +base<b> +0\.5000", text)
    assert re.search(r"base<b> − its twin +\+0\.04000 +not defined", text)
    assert re.search(r"wide\[x\] − its twin +−0\.01000 .*helped", text)
    assert "broken failed: Training diverged: <nan>" in text
    assert "12,345 rows of test" in text


def test_the_page_is_whole_escaped_and_links_the_runs(comparison: Comparison) -> None:
    folder = Path(comparison.folder)
    folder.mkdir(parents=True)
    write_page(comparison, folder)
    assert Comparison.model_validate(json.loads((folder / "comparison.json").read_text())) == comparison
    html = (folder / "comparison.html").read_text()
    assert html == render(comparison)
    assert "base&lt;b&gt;" in html
    assert "base<b>" not in html
    assert 'href="../../wide[x]-1/report.html"' in html
    assert "Training diverged: &lt;nan&gt;" in html
    assert html.count("<svg") == 5  # six differences, one of them without an interval
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']https?:", html)
    places = [float(place) for place in re.findall(r'cx="([\d.]+)"', html)]
    low, high = -0.05, 0.06
    margin = 0.05 * (high - low)
    assert places[0] == pytest.approx(100 * (0.05 - low + margin) / (high - low + 2 * margin), abs=0.01)


def test_one_config_without_twins_is_nothing_to_compare() -> None:
    with pytest.raises(ConfigError, match="nothing to compare with"):
        compare([config()], twins=False, split="test", parallel=None, say=lambda _: None)


@pytest.mark.parametrize("split", ["train", "tset"])
def test_models_are_compared_on_a_part_that_judges(split: str) -> None:
    with pytest.raises(ConfigError, match="not compared on this part") as caught:
        check_split(split)
    assert caught.value.allowed == "validation, test"
