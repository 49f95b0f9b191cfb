"""One objective on the simulated shop: with ASHA and without, against the config that the search starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mtl_ray.metrics.metric import FloatArray
from tests.benchmarks.quality.data_set import ROOT, Prepared
from tests.benchmarks.results import Verdict
from tests.benchmarks.tuning.searches import Searched, searched

TRIALS, QUICK_TRIALS = 24, 6
EPOCHS, QUICK_EPOCHS = 6, 3
CONCURRENT = 2
SPACE = ROOT / "jobs" / "configs" / "ecommerce_space.yaml"

HEADER = ("search", "trials", "finished", "epochs", "training s", "wall s", "overhead", "best", "objective")

Table = tuple[tuple[str, ...], list[dict[str, Any]], tuple[Verdict, ...]]


def ecommerce(data: Prepared, folder: Path, quick: bool) -> Table:
    """Header, rows and verdicts. The first trial of both searches is the config itself; without ASHA it trains to its
    end."""
    space = yaml.safe_load(SPACE.read_text())
    training = {**data.config["training"], "epochs": QUICK_EPOCHS if quick else EPOCHS}
    training["early_stopping"] = {**training["early_stopping"], "patience": None}
    config = {**data.config, "training": training}
    options = ("--trials", str(QUICK_TRIALS if quick else TRIALS), "--concurrent", str(CONCURRENT))
    stopped = searched(folder, "asha", config, space, *options)
    whole = searched(folder, "none", config, {**space, "scheduler": "none"}, *options)
    best = stopped.summary["front"][0]["trial"]
    metrics = space["objective"]
    ours = stopped.objective_replicates(best, metrics)
    default = whole.objective_replicates(0, metrics)
    rows = [_row(name, search) for name, search in (("asha", stopped), ("none", whole))]
    rows.append({**dict.fromkeys(HEADER, ""), "search": "the config itself", "best": 0, "objective": _value(whole, 0)})
    verdicts = _verdicts(stopped, whole, ours, default, _value(stopped, best), _value(whole, 0))
    return HEADER, rows, () if quick else verdicts


def _row(name: str, search: Searched) -> dict[str, Any]:
    best = search.summary["front"][0]["trial"]
    return {
        "search": name,
        "trials": search.summary["trials"],
        "finished": search.summary["finished"],
        "epochs": search.epochs,
        "training s": search.summary["training_seconds"],
        "wall s": search.summary["wall_seconds"],
        "overhead": round(search.overhead, 3),
        "best": best,
        "objective": _value(search, best),
    }


def _value(search: Searched, number: int) -> float:
    value = search.trial(number).objective[0]
    assert value is not None
    return round(value, 5)


def _verdicts(
    stopped: Searched, whole: Searched, ours: FloatArray, default: FloatArray, best: float, of_default: float
) -> tuple[Verdict, ...]:
    low, high = np.quantile(ours, [0.025, 0.975])
    low_default, high_default = np.quantile(default, [0.025, 0.975])
    low_of_difference, high_of_difference = np.quantile(ours - default, [0.025, 0.975])
    share = stopped.epochs / whole.epochs
    intervals = f"{best:.4f} [{low:.4f}, {high:.4f}] against {of_default:.4f} [{low_default:.4f}, {high_default:.4f}]"
    return (
        Verdict(
            line="the best trial beats the config on the validation part",
            goal="the paired 95 % interval of the difference lies above 0",
            measured=f"{best - of_default:+.4f} [{low_of_difference:+.4f}, {high_of_difference:+.4f}]",
            met=bool(low_of_difference > 0.0),
        ),
        Verdict(
            line="the best trial's own interval and the config's",
            goal="do not overlap",
            measured=intervals,
            met=bool(low > high_default),
        ),
        Verdict(
            line="epochs with ASHA of those without",
            goal="at most 60 %",
            measured=f"{stopped.epochs} of {whole.epochs}: {100 * share:.0f} %",
            met=share <= 0.6,
        ),
        Verdict(
            line="wall time over (sum of the trials' training times / trials at a time), start-up included",
            goal="at most 1.25",
            measured=f"{stopped.overhead:.3f} with ASHA, {whole.overhead:.3f} without",
            met=stopped.overhead <= 1.25,
        ),
    )
