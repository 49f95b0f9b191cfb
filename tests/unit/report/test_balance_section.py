"""The report's section on the balance between tasks: there where weights moved or gradients were compared."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mtl_ray.report.charts.figure import LineStyle
from mtl_ray.report.page import write_report

MakeRun = Callable[..., Path]


def section(html: str) -> str:
    found = re.search(r'<section id="balance">.*?</section>', html, re.DOTALL)
    assert found is not None
    return found[0]


def step_lines(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "step"]


def change(run: Path, changes: Iterator[dict[str, Any]]) -> None:
    """Add the next of `changes` to each step line."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    changed = [{**line, **next(changes, {})} if line["kind"] == "step" else line for line in lines]
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, changed)) + "\n")


def test_static_weights_and_a_plain_sum_have_no_such_section(make_run: MakeRun) -> None:
    run = make_run()
    assert "train/click/weight" in step_lines(run)[0]
    assert "train/balance/step_seconds" in step_lines(run)[0]
    html = write_report(run).read_text()
    assert 'id="balance"' not in html
    assert 'href="#balance"' not in html


def test_numbers_are_means_of_the_log(make_run: MakeRun) -> None:
    run = make_run(balanced=True)
    html = write_report(run).read_text()
    assert 'href="#balance"' in html
    text = section(html)
    lines = step_lines(run)

    def mean(key: str) -> float:
        return sum(line[f"train/balance/{key}"] for line in lines) / len(lines)

    for label, value in (
        ("loss weighting", "uncertainty"),
        ("gradient aggregation", "pcgrad"),
        ("steps changed", f"{100 * mean('changed'):.0f} %"),
        ("mean cosine to the plain sum", f"{mean('cosine_to_sum'):.3f}"),
        ("a step took", f"{mean('step_seconds'):.4f} s"),
    ):
        assert f"<dt>{label}</dt><dd>{value}</dd>" in text
    row = re.search(r'<tr><th scope="row">order_<wbr>value</th><td class="n">.*?</tr>', text, re.DOTALL)
    assert row is not None
    last = lines[-1]["train/order_value/weight"]
    assert f'<td class="n">{lines[0]["train/order_value/weight"]:.4f}</td><td class="n">{last:.3f}</td>' in row[0]
    assert f'<td class="n">{mean("order_value/factor"):.3f}</td>' in row[0]
    cosine = mean("cosine/click/purchase")
    cell = f'<td class="n plus" style="--strength: {100 * cosine:.1f}%">{cosine:.2f}</td>'
    heat = text[text.index('<table class="heat"') :]
    assert heat.count(cell) == 2
    assert "−" in heat
    assert "Steps left out" not in text


def test_one_line_a_task_with_a_key(make_run: MakeRun) -> None:
    run = make_run(balanced=True)
    html = write_report(run).read_text()
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    text = section(html)
    styles = re.findall(r'<span class="line"><i style="--dash: (\w+); --colour: var\((--\w+)\)">', text)
    assert len(styles) == len(set(styles)) == 4
    for title in ("Task weights of all tasks by step", "Training losses of all tasks by step"):
        drawing = re.search(rf'<svg [^>]*aria-label="{title}".*?</svg>', text, re.DOTALL)
        assert drawing is not None
        ElementTree.fromstring(drawing[0])
        for _, colour in styles:
            assert re.search(rf'clip-path="[^"]*" style="fill: none; stroke: var\({colour}\)', drawing[0])


def test_eight_tasks_look_different() -> None:
    assert len({LineStyle.of(at) for at in range(8)}) == 8
    assert LineStyle.of(12) == LineStyle.of(0)


def test_moving_weights_alone_are_enough(make_run: MakeRun) -> None:
    run = make_run()
    change(run, iter([{"train/click/weight": 1.5}]))
    text = section(write_report(run).read_text())
    assert '<th scope="row">click</th><td class="n">1.500</td><td class="n">1.000</td></tr>' in text
    assert "Cosines" not in text
    assert "Mean factor" not in text


def test_left_out_steps_count_on_after_a_restart(make_run: MakeRun) -> None:
    run = make_run()
    key = "train/balance/purchase/skipped"
    change(run, iter([{key: 2.0}, {key: 3.0}, {}, {key: 4.0}]))
    text = section(write_report(run).read_text())
    assert re.search(r'<th scope="row">purchase</th><td.*</td><td class="n">7</td></tr>', text)
    assert re.search(r'<th scope="row">click</th><td.*</td><td class="n">0</td></tr>', text)


@pytest.mark.parametrize("first", [0.0, -0.5])
def test_a_loss_without_a_positive_first_value_is_not_drawn(make_run: MakeRun, first: float) -> None:
    run = make_run(balanced=True, tasks={"click": {"type": "binary"}})
    change(run, iter([{"train/click/weight": 0.5}]))
    assert "Training losses" in section(write_report(run).read_text())
    change(run, iter([{"train/click/loss": first}]))
    assert "Training losses" not in section(write_report(run).read_text())


def test_task_names_are_escaped(make_run: MakeRun) -> None:
    names = ["<q>one", "two & three"]
    run = make_run(balanced=True, tasks={name: {"type": "binary"} for name in names})
    text = section(write_report(run).read_text())
    assert "<q>" not in text
    assert text.count("&lt;q&gt;one") == 4
    assert text.count("two &amp; three") == 4
