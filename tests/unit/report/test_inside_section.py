"""The report's section on the inside of the model: there when it was looked into, absent otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mtl_ray.errors import DataError
from mtl_ray.evaluation.diagnostics.result import Cosines, Diagnostics, GateUse, Size, write_diagnostics
from mtl_ray.evaluation.differences import Difference
from mtl_ray.evaluation.transfer import Transfer, write_transfer
from mtl_ray.report.page import write_report

MakeRun = Callable[..., Path]

DIAGNOSTICS = Diagnostics(
    checkpoint="checkpoint_000003",
    split="test",
    gate_rows=1234,
    gates=(
        GateUse(gate="click<x>", mean=(0.75, 0.25), largest=(0.9, 0.1)),
        GateUse(gate="purchase", mean=(0.5, 0.5), largest=(1.0, 0.0)),
        GateUse(gate="upper", mean=(0.2, 0.3, 0.5), largest=(0.0, 0.0, 1.0)),
    ),
    batch_rows=4096,
    cosines=(
        Cosines(
            place="shared layers",
            tasks=("click", "purchase", "rating"),
            cosine=((1.0, -0.25, 0.5), (-0.25, 1.0, None), (0.5, None, 1.0)),
            batches=((8, 8, 3), (8, 8, 0), (3, 0, 3)),
        ),
    ),
    size=Size(embeddings=8000, encoder=0, shared=1500, tasks={"click": 300, "purchase": 200}, flops=123456.7),
)
DIFFERENCE = Difference(
    task="purchase",
    metric="roc_auc",
    of="both",
    against="both-twin_purchase",
    value=0.7,
    reference=0.75,
    difference=-0.05,
    low=-0.06,
    high=-0.04,
    verdict="worse",
)
TRANSFER = Transfer(split="test", confidence=0.95, page="../comparisons/c1/comparison.html", differences=(DIFFERENCE,))


def section(html: str) -> str:
    found = re.search(r'<section id="inside">.*?</section>', html, re.DOTALL)
    assert found is not None
    return found[0]


def test_a_run_without_it_has_no_such_section(make_run: MakeRun) -> None:
    html = write_report(make_run()).read_text()
    assert 'id="inside"' not in html
    assert 'href="#inside"' not in html


def test_gates_cosines_and_sizes_are_shown(make_run: MakeRun) -> None:
    run = make_run()
    write_diagnostics(DIAGNOSTICS, run)
    html = write_report(run).read_text()
    assert 'href="#inside"' in html
    text = section(html)
    assert "Gates over 2 experts" in text
    assert "Gates over 3 experts" in text
    assert "click&lt;x&gt;" in text
    assert "click<x>" not in text
    assert 'style="--strength: 75.0%">0.75<small>90 %</small>' in text
    assert "click and purchase pull the shared layers against each other most: cosine −0.25." in text
    assert '<td class="n minus" style="--strength: 25.0%">−0.25</td>' in text
    assert '<td class="n plus" style="--strength: 50.0%">0.50<small>3 batches</small></td>' in text
    assert re.search(r'embedding tables</th><td class="n">8,000</td><td class="n muted">80 %', text)
    assert re.search(r'purchase alone</th><td class="n">200</td>', text)
    assert re.search(r'all</th><td class="n">10,000</td>', text)
    assert "123,457 floating-point operations" in text
    assert "What sharing did" not in text


def test_negative_transfer_is_shown_with_a_link(make_run: MakeRun) -> None:
    run = make_run()
    write_transfer(TRANSFER, run)
    text = section(write_report(run).read_text())
    assert '<a href="../comparisons/c1/comparison.html">' in text
    row = text[text.index('<th scope="row">purchase') :]
    for figure in ("ROC-AUC", "<b>0.700</b>", "0.750", "−0.0500", '<span class="tag stop">harmed</span>'):
        assert figure in row
    assert "Gates over" not in text


def test_damaged_files_are_named(make_run: MakeRun) -> None:
    run = make_run()
    for name in ("diagnostics.json", "transfer.json"):
        (run / "evaluation" / name).write_text('{"checkpoint": 3}')
        with pytest.raises(DataError, match="damaged or from another version") as caught:
            write_report(run)
        assert name in str(caught.value)
        (run / "evaluation" / name).unlink()
