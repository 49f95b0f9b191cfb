"""What a search shows while it runs: a table on a terminal, a line a trial elsewhere."""

from __future__ import annotations

import io
import pickle
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from mtl_ray.tuning.objective import objective_of
from mtl_ray.tuning.resolve import in_short_words
from mtl_ray.tuning.view import SearchView

CLICK, CART = "validation/click/roc_auc", "validation/cart/roc_auc"
RATE = "training.optimizer.learning_rate"


def trial(number: int, status: str) -> Any:
    """What Tune's callbacks get of a trial."""
    point = {"number": number, "seed": number, "values": {RATE: 0.01 * (number + 1)}}
    return SimpleNamespace(trial_id=str(number), status=status, config={"point": point})


def result(click: float, cart: float | None, epoch: int, ended: str = "", objective: list[float] | None = None) -> Any:
    kept = {CLICK: click, CART: cart, "validation/click/loss": 0.5, "validation/loss": 0.9}
    values = [click + (cart or 0.0)] if objective is None else objective
    return {"kept": kept, "epoch": epoch, "ended": ended, "objective": values, "judged": values[0]}


def shown(view: SearchView) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=110).print(view.table())
    return [" ".join(line.split()) for line in out.getvalue().splitlines() if line.strip()]


def test_the_table() -> None:
    view = SearchView(objective_of({CLICK: 1, CART: 1}, {}), 5)
    states = ["TERMINATED", "PAUSED", "RUNNING", "TERMINATED"]
    trials = [trial(number, status) for number, status in enumerate(states)]
    for one in trials:
        view.on_trial_start(one)
    view.on_trial_result(trials[0], result(0.7, 0.9, 3, "finished"))
    view.on_trial_result(trials[1], result(0.6, None, 1))
    view.on_trial_result(trials[3], result(0.5, 0.6, 1))
    lines = shown(view)
    assert lines[0] == "2 of 5 trials have ended"
    assert lines[1] == "trial state epoch objective click/roc_auc cart/roc_auc values"
    assert lines[3:] == [
        "2 running 0 – – – optimizer.learning_rate=0.03",
        "0 finished 3 1.6 0.7 0.9 optimizer.learning_rate=0.01",
        "3 stopped 1 1.1 0.5 0.6 optimizer.learning_rate=0.04",
        "1 paused 1 0.6 0.6 – optimizer.learning_rate=0.02",
    ]


def test_the_line() -> None:
    view = SearchView(objective_of({CLICK: 1, CART: 1}, {}), 1)
    assert view.line(trial(0, "RUNNING"), result(0.7, 0.9, 1)) == (
        "trial 0: stopped after 1 epoch, 1.6 (click/roc_auc 0.7, cart/roc_auc 0.9)  optimizer.learning_rate=0.01"
    )
    failed = {"epoch": 2, "objective": [], "judged": -1.0, "ended": "failed"}
    assert view.line(trial(3, "RUNNING"), failed) == "trial 3: failed after 2 epochs, –  optimizer.learning_rate=0.04"


def test_an_objective_that_is_the_tasks_metrics_is_shown_once() -> None:
    view = SearchView(objective_of((CLICK, CART), {}), 1)
    line = view.line(trial(0, "RUNNING"), result(0.7, 0.9, 2, "finished", [0.7, 0.9]))
    assert line == "trial 0: finished after 2 epochs, 0.7, 0.9  optimizer.learning_rate=0.01"


def test_tune_pickles_it() -> None:
    view = SearchView(objective_of(CLICK, {}), 5)
    view.on_trial_start(trial(0, "RUNNING"))
    assert shown(pickle.loads(pickle.dumps(view)))[0] == "0 of 5 trials have ended"


def test_short_names_tell_keys_apart() -> None:
    values = {"tasks.click.weight": 1, "tasks.cart.weight": 2, RATE: 0.5, "a.b.learning_rate": 3, "x": 1}
    assert (
        in_short_words(values) == "click.weight=1, cart.weight=2, optimizer.learning_rate=0.5, b.learning_rate=3, x=1"
    )
    assert in_short_words({"a.b.c": 1, "z.b.c": 2}) == "a.b.c=1, z.b.c=2"
