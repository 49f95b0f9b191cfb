"""The page of a search: what it says and what its script draws."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mtl_ray.tuning.importance import importances, weight_correlations
from mtl_ray.tuning.objective import objective_of
from mtl_ray.tuning.outcome import Epoch, Outcome, Trial
from mtl_ray.tuning.page import render
from mtl_ray.tuning.points import Space
from tests.unit.tuning.test_space import searched

CLICK, BUY = "validation/click/roc_auc", "validation/purchase/roc_auc"
TYPES = {"click": "binary", "purchase": "binary"}


def space() -> Space:
    weights = {"tasks.click.weight": {"uniform": [0.0, 2.0]}, "tasks.purchase.weight": {"uniform": [0.0, 2.0]}}
    return searched({**weights, "model.dropout": {"uniform": [0.0, 0.5]}}).space


def outcome(folder: Path, targets: tuple[str, ...] = (CLICK, BUY), number: int = 12) -> Outcome:
    """The click's AUC grows with the share of its weight, the purchase's falls; dropout does nothing."""
    trials, epochs = [], []
    for at in range(number):
        weight = 0.1 + 1.8 * at / (number - 1)
        values = {"tasks.click.weight": weight, "tasks.purchase.weight": 2.0 - weight, "model.dropout": at * 7 % 5 / 10}
        metrics: dict[str, float | None] = {CLICK: 0.6 + 0.1 * weight, BUY: 0.8 - 0.1 * weight, "validation/loss": None}
        trials.append(
            Trial(
                number=at,
                status="finished",
                values=values,
                seed=at,
                objective=tuple(metrics[target] for target in targets),
                metrics=metrics,
                epochs=2,
                kept_epoch=2,
                seconds=1.0,
                failures=0,
                checkpoint="tune/x/kept",
            )
        )
        epochs += [Epoch(trial=at, epoch=epoch, values=values, metrics=metrics) for epoch in (1, 2)]
    lost = trials[0].model_copy(update={"number": number, "status": "lost", "objective": (), "error": "</script><b>"})
    return Outcome(
        run=str(folder),
        targets=targets,
        greater_is_better=(True,) * len(targets),
        trials=(*trials, lost),
        epochs=tuple(epochs),
        wall_seconds=10.0,
        concurrent=2,
    )


def page(found: Outcome) -> tuple[str, dict[str, Any]]:
    declared = found.targets[0] if len(found.targets) == 1 else found.targets
    html = render(found, objective_of(declared, {}), space(), TYPES, datetime(2026, 1, 2, tzinfo=UTC))
    embedded = re.search(r'<script type="application/json" id="data">(.*?)</script>', html)
    assert embedded is not None
    return html, json.loads(embedded[1])


def test_a_front_is_drawn_and_its_configs_are_linked(tmp_path: Path) -> None:
    html, data = page(outcome(tmp_path))
    assert "12 trials, none of which beats another" in html
    assert [trial["number"] for trial in data["trials"]] == list(range(12))
    assert all(trial["front"] for trial in data["trials"])
    assert data["targets"] == [CLICK, BUY]
    third = pytest.approx(0.6 + 0.1 * (0.1 + 1.8 * 3 / 11))
    assert data["curves"]["3"] == [[1, third], [2, third]]
    for number in range(12):
        assert f'href="front/trial-{number}.yaml"' in html
    cells = html.replace("<wbr>", "")
    assert cells.count("tasks.purchase.weight=") >= 2 * 12, "the front's table and all trials' say what was tried"
    assert "object at 0x" not in cells
    assert not re.search(r'(?:src|href)="(?:https?:)?//', html), "it works offline"
    assert "&lt;/script&gt;" in html


def test_what_came_from_files_cannot_end_the_script(tmp_path: Path) -> None:
    found = outcome(tmp_path)
    trials = [trial.model_copy(update={"values": {**trial.values, "x": "</script>"}}) for trial in found.trials[:3]]
    html, data = page(found.model_copy(update={"trials": tuple(trials), "epochs": ()}))
    assert data["trials"][0]["values"]["x"] == "</script>"
    assert html.count("</script>") == 2


def test_the_best_is_named_beside_the_first(tmp_path: Path) -> None:
    html, data = page(outcome(tmp_path, (CLICK,)))
    assert "Trial 11 is the best: click/roc_auc 0.7900, against 0.6100 of trial 0." in html.replace("<wbr>", "")
    assert [trial["number"] for trial in data["trials"] if trial["front"]] == [11]


def test_importance_finds_what_matters(tmp_path: Path) -> None:
    found = importances(outcome(tmp_path, (CLICK,), number=40), space())[CLICK]
    assert set(found) == {"tasks.click.weight", "tasks.purchase.weight", "model.dropout"}
    assert found["model.dropout"] < 0.1
    assert sum(found.values()) == pytest.approx(1.0)
    assert importances(outcome(tmp_path, (CLICK,), number=4), space()) == {}


def test_weights_and_tasks(tmp_path: Path) -> None:
    found = weight_correlations(outcome(tmp_path), [CLICK, BUY, "validation/loss"])
    assert found["tasks.click.weight"] == {CLICK: pytest.approx(1.0), BUY: pytest.approx(-1.0), "validation/loss": None}
    assert found["tasks.purchase.weight"][CLICK] == pytest.approx(-1.0)
    html, _ = page(outcome(tmp_path))
    assert "Weights and tasks" in html


def test_a_population_s_history_is_drawn(tmp_path: Path) -> None:
    found = outcome(tmp_path)
    assert "How the population changed" not in page(found)[0]
    changed = [
        item.model_copy(update={"values": {**item.values, "tasks.click.weight": 0.5 * item.epoch}})
        for item in found.epochs
    ]
    html, data = page(found.model_copy(update={"epochs": tuple(changed)}))
    assert "How the population changed" in html
    assert data["history"]["tasks.click.weight"]["4"] == [[1, 0.5], [2, 1.0]]
