"""The report's section on the ranking score: there where the checkpoint has one, absent otherwise."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from mtl_ray.fusion import Fusion
from mtl_ray.report.page import write_report

MakeRun = Callable[..., Path]
TUNED = Fusion(
    formula="product",
    weights={"click": 1.23456, "purchase": -0.5},
    declared={"click": 1.0, "purchase": -2.0},
    metric={"validation/click/gauc": 1.0},
    value=0.71234,
    value_of_declared=0.69876,
    trials=200,
)


def section(html: str) -> str:
    found = re.search(r'<section id="score">.*?</section>', html, re.DOTALL)
    assert found is not None
    return " ".join(found[0].split())


def test_a_run_without_a_score_has_no_such_section(make_run: MakeRun) -> None:
    html = write_report(make_run()).read_text()
    assert 'id="score"' not in html
    assert 'href="#score"' not in html


def test_formula_tuning_and_values_are_those_of_the_files(make_run: MakeRun) -> None:
    run = make_run(fusion=TUNED)
    html = write_report(run).read_text()
    assert 'href="#score"' in html
    text = section(html)
    assert "<span>click<sup>1.235</sup></span> × <span>purchase<sup>−0.5</sup></span>" in text
    for fact in ("validation/click/gauc", "0.7123", "0.6988", "200", "click 1, purchase −2"):
        assert f"<dd>{fact}</dd>" in text
    rows = re.findall(r'<tr><th scope="row">.*?</tr>', text)
    assert len(rows) == 4
    stored = json.loads((run / "evaluation" / "test.json").read_text())["score"]["metrics"]
    value = stored["purchase"]["gauc"]
    assert rows[3] == (
        f'<tr><th scope="row">purchase</th><td>GAUC</td><td class="n"><b>{value["value"]:.3f}</b></td>'
        f'<td class="n muted">{value["low"]:.3f} – {value["high"]:.3f}</td>'
        f'<td class="n">{value["baseline"]:.3f}</td></tr>'
    )


def test_a_sum_for_several_metrics(make_run: MakeRun) -> None:
    both = {"validation/click/gauc": 1.0, "validation/purchase/roc_auc": 0.25}
    fusion = TUNED.model_copy(update={"formula": "sum", "metric": both})
    text = section(write_report(make_run(fusion=fusion)).read_text())
    assert "<span>1.235 × click</span> + <span>−0.5 × purchase</span>" in text
    assert "<dd>1 × validation/click/gauc + 0.25 × validation/purchase/roc_auc</dd>" in text


def test_weights_that_were_not_changed_are_not_called_tuned(make_run: MakeRun) -> None:
    fusion = TUNED.model_copy(update={"declared": TUNED.weights, "value_of_declared": TUNED.value})
    text = section(write_report(make_run(fusion=fusion, name="kept")).read_text())
    assert "No set of weights that was tried orders the validation part better" in text
    assert "<dt>declared</dt>" not in text
    as_declared = Fusion(formula="sum", weights={"click": 1.0}, declared={"click": 1.0})
    text = section(write_report(make_run(fusion=as_declared, name="declared", replicates=0)).read_text())
    assert "The weights are those of the config." in text
    assert "tuned for" not in text
    assert "interval" not in text


def test_task_names_are_escaped(make_run: MakeRun) -> None:
    fusion = TUNED.model_copy(update={"weights": {"<b>x": 1.0}, "metric": {"validation/<b>x/gauc": 1.0}})
    text = section(write_report(make_run(tasks={"<b>x": {"type": "binary"}}, fusion=fusion)).read_text())
    assert "<b>x" not in text
    assert "&lt;b&gt;x<sup>1</sup>" in text
    assert '<th scope="row">&lt;b&gt;x</th>' in text
