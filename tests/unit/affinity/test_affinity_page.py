"""Task affinity for the eye: the sentence, the tables on the terminal and the page."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from mtl_ray.affinity.page import render, write_page
from mtl_ray.affinity.result import Estimate, Grouping, TaskAffinity, Verdict
from mtl_ray.affinity.table import affinity_tables
from mtl_ray.affinity.wording import service, verdict_sentence
from mtl_ray.data.staging import ResultFolder

TASKS = ("click", "buy<b>", "rating[x]")


def estimate(value: float | None) -> Estimate:
    if value is None:
        return Estimate(value=None, low=None, high=None)
    return Estimate(value=value, low=value - 0.0005, high=value + 0.0005)


def grouping(most: int, verdict: Verdict) -> Grouping:
    return Grouping(
        most=most,
        groups=(("click", "buy<b>"), ("click", "rating[x]")),
        served={"click": 0, "buy<b>": 0, "rating[x]": 1},
        score=estimate(0.0041),
        wins=0.874,
        gain=estimate(0.0031),
        runner_up=(("click", "buy<b>"), ("rating[x]",)),
        runner_up_score=0.0039,
        lead=estimate(0.0002),
        verdict=verdict,
    )


def result(*verdicts: Verdict) -> TaskAffinity:
    values = ((0.002, 0.0012345, None), (0.001, 0.002, -0.0005), (-0.0001, 0.0003, 0.001))
    means = tuple(tuple(row) for row in values)
    return TaskAffinity(
        name="shop",
        tasks=TASKS,
        every=10,
        training_steps=1200,
        steps=120,
        replicates=1000,
        confidence=0.95,
        block=5,
        affinity=tuple(tuple(estimate(value) for value in row) for row in values),
        thirds={"early": means, "middle": means, "late": means},
        together=estimate(0.001),
        groupings=tuple(grouping(most, verdict) for most, verdict in enumerate(verdicts, start=2)),
        run="runs/shop-1",
    )


def test_the_sentence_proposes_what_is_shown_to_be_better() -> None:
    sentence = verdict_sentence(result("within noise", "better"))
    assert sentence == (
        "Train click + buy<b> | click + rating[x]: +0.310 % a step over all tasks together (+0.260, +0.360)."
    )
    assert result("within noise", "better").summary()["proposed"] == [["click", "buy<b>"], ["click", "rating[x]"]]


@pytest.mark.parametrize("verdicts", [("within noise", "within noise"), ("together", "within noise")])
def test_it_says_where_no_grouping_beats_all_together(verdicts: tuple[Verdict, ...]) -> None:
    found = result(*verdicts)
    assert verdict_sentence(found).startswith("Train all tasks together: no grouping's interval")
    assert found.summary()["proposed"] == [list(TASKS)]
    assert verdict_sentence(result("together")) == "Train all tasks together: no grouping scores higher."


def test_a_task_that_only_helps_is_named() -> None:
    assert service(grouping(2, "better")) == "click in click + rating[x] only to help the others"


def test_the_tables_fit_80_columns() -> None:
    console = Console(width=80, record=True, file=StringIO())
    console.print(affinity_tables(result("better", "within noise")))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if "≤ 2" in line)
    for word in ("click + buy<b>", "+0.410", "+0.310", "87 %", "better"):
        assert word in row
    assert "not shown" in next(line for line in lines if "≤ 3" in line)
    assert "+0.390" in next(line for line in lines if line.strip().startswith("then"))
    text = re.sub(r"\s+", " ", " ".join(lines))
    for word in ("+0.123", "−0.050", "rating[x]", "+0.260, +0.360", "120 of 1,200 steps", "another seed is not in it"):
        assert word in text
    seven = {"tasks": tuple("abcdefg"), "affinity": ((estimate(0.001),) * 7,) * 7}
    console.print(affinity_tables(result("better").model_copy(update=seven)))
    assert "step for" not in console.export_text()


def test_the_page_shows_matrix_thirds_and_groupings(tmp_path: Path) -> None:
    found = write_page(result("better", "within noise"), ResultFolder(tmp_path))
    html = (tmp_path / "task_affinity.html").read_text()
    assert found.page == str(tmp_path / "task_affinity.html")
    assert html.count('class="heat"') == 4
    for title in ("Early third", "Middle third", "Late third", "at most 2", "at most 3"):
        assert title in html
    assert "<b>" not in re.sub(r"</?b>", "", html.replace("buy&lt;b&gt;", ""))
    assert "buy<b>" not in html
    assert "buy&lt;b&gt;" in html
    strongest = re.search(r'<td class="n plus" style="--strength: 100.0%">\+0.123<small>', html)
    assert strongest is not None
    assert '<td class="n minus"' in html
    assert "http" not in re.sub(r"http://www.w3.org\S*", "", html)
    assert render(found) == html
    stored = json.loads((tmp_path / "task_affinity.json").read_text())
    assert TaskAffinity.model_validate(stored) == found
    assert stored["affinity"][0][2] == {"value": None, "low": None, "high": None}
