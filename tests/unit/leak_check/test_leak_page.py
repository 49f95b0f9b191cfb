"""A leak check for the eye: the table on the terminal and the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.console import Console

from mtl_ray.data.staging import ResultFolder
from mtl_ray.leak_check.page import render, write_page
from mtl_ray.leak_check.result import Inflation, LeakCheck, ViewResult
from mtl_ray.leak_check.table import leak_table
from mtl_ray.leak_check.wording import verdict_sentence

LEAK = Inflation(rows=900, point_in_time=0.7, naive=0.8126, inflation=0.1126, low=0.08, high=0.145, verdict="leak")
NONE = Inflation(rows=900, point_in_time=0.7, naive=0.7, inflation=0.0, low=0.0, high=0.0, verdict="none")
NOISE = NONE.model_copy(update={"naive": 0.699, "inflation": -0.001, "low": -0.01, "high": 0.008})
NOISE = NOISE.model_copy(update={"verdict": "within noise"})
UNDEFINED = Inflation(
    rows=3, point_in_time=None, naive=None, inflation=None, low=None, high=None, verdict="not defined"
)


def view(name: str, changed: float, click: Inflation, buy: Inflation) -> ViewResult:
    tasks = {"click": click, "buy[x]": buy}
    return ViewResult(view=name, join_keys=("user_id",), changed=changed, from_future=changed / 2, tasks=tasks)


@pytest.fixture
def check() -> LeakCheck:
    views = (
        view("daily<b>", 0.5, LEAK, UNDEFINED),
        view("profile", 0.0, NONE, NONE),
        view("price", 0.25, NOISE, NOISE),
    )
    return LeakCheck(
        name="shop",
        service="ranking_v1",
        spine="data/spine",
        spine_rows=2_000_000,
        rows=99_871,
        epochs=2,
        seeds=3,
        resampled="user_id",
        confidence=0.95,
        views=views,
        together={"click": LEAK, "buy[x]": UNDEFINED},
    )


def test_the_sentence_names_what_leaks(check: LeakCheck) -> None:
    sentence = "1 of 3 views leaks: daily<b>. At most +0.113 of test AUC would have been faked, of click by daily<b>."
    assert verdict_sentence(check) == sentence
    profile = check.model_copy(update={"views": check.views[1:2]})
    assert verdict_sentence(profile).startswith("No view can leak")
    assert "beyond noise" in verdict_sentence(check.model_copy(update={"views": check.views[1:]}))


def test_the_table_shows_every_view_and_task(check: LeakCheck) -> None:
    console = Console(width=80, force_terminal=False)
    with console.capture() as captured:
        console.print(leak_table(check))
    text = captured.get()
    assert re.search(r"daily<b> +50\.0 % +click +0\.813 +\+0\.113 +\+0\.080, \+0\.145 +leak", text)
    assert re.search(r"buy\[x\] +– +– +not defined", text)
    assert re.search(r"profile +none +click +0\.700 +0 +none", text)
    assert re.search(r"price .*−0\.001 +−0\.010, \+0\.008 +within noise", text)
    assert "99,871 of 2,000,000 spine rows" in text


def test_the_page_is_whole_and_escaped(check: LeakCheck, tmp_path: Path) -> None:
    written = write_page(check, ResultFolder(tmp_path))
    html = (tmp_path / "leak_check.html").read_text()
    assert written.page == str(tmp_path / "leak_check.html")
    assert LeakCheck.model_validate_json((tmp_path / "leak_check.json").read_text()) == written
    assert "daily&lt;b&gt;" in html
    assert "<b>daily" not in html
    assert html.count("<svg") == 6  # an undefined AUC has no place on the scale
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']https?:", html)
    assert render(written) == render(written)
    places = [float(place) for place in re.findall(r'cx="([\d.]+)"', html)]
    low, high = -0.01, 0.145
    assert places[0] == pytest.approx(100 * (0.1126 - low) / (high - low), abs=0.01)
    assert places[1] == pytest.approx(100 * (0 - low) / (high - low), abs=0.01)
