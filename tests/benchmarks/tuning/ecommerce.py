"""One objective on the simulated shop: with ASHA and without, against the product's defaults, which the search starts
from, and against the config of the repository's main job, whose settings somebody has chosen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mtl_ray.datasets import prepare
from mtl_ray.metrics.metric import FloatArray
from tests.benchmarks.quality.data_set import ROOT, Prepared, prepared
from tests.benchmarks.results import Verdict
from tests.benchmarks.tuning.searches import Searched, searched

TRIALS, QUICK_TRIALS = 24, 6
EPOCHS, QUICK_EPOCHS = 6, 3
CONCURRENT = 2
SPACE = ROOT / "jobs" / "configs" / "ecommerce_space.yaml"
WIDER = {
    "training.global_batch_size": {"choice": [256, 512, 1024, 2048, 4096]},
    "model.tower": {"choice": [[32], [64], [64, 32]]},
}
"""The defaults have to lie in the space, or they would be no trial."""

SHOP = {"num_users": 3000, "num_items": 300, "num_days": 21, "num_impressions": 200_000}
PARTS = ("training_set.split.validation=0.4", "training_set.split.test=0.5")
"""Many users in the validation part: what a trial gains is small beside what one sample of users varies by."""

HEADER = ("search", "trials", "finished", "epochs", "training s", "wall s", "overhead", "best", "objective")

Table = tuple[tuple[str, ...], list[dict[str, Any]], tuple[Verdict, ...]]


def shop(folder: Path, quick: bool) -> Prepared:
    """The simulator with about 200,000 impressions (quick: what the quality benchmark takes)."""
    if not quick and not (folder / "data").exists():
        prepare("ecommerce", folder / "data", None, **SHOP)
    return prepared("ecommerce", folder, None, quick, list(PARTS))


def ecommerce(data: Prepared, folder: Path, quick: bool) -> Table:
    """Header, rows and verdicts. The first trial of both searches is the defaults, which train to their end without
    ASHA."""
    space = wider_space()
    config, main_job = defaults(data.config, QUICK_EPOCHS if quick else EPOCHS)
    options = ("--trials", str(QUICK_TRIALS if quick else TRIALS), "--concurrent", str(CONCURRENT))
    stopped = searched(folder, "asha", config, space, *options)
    chosen = searched(folder, "main_job", main_job, {**space, "scheduler": "none"}, "--trials", "1")
    whole = searched(folder, "none", config, {**space, "scheduler": "none"}, *options)
    best = stopped.summary["front"][0]["trial"]
    metrics = space["objective"]
    ours = stopped.objective_replicates(best, metrics)
    default = whole.objective_replicates(0, metrics)
    rows = [_row(name, search) for name, search in (("asha", stopped), ("none", whole))]
    for name, search in (("the defaults", whole), ("the main job's config", chosen)):
        rows.append({**dict.fromkeys(HEADER, ""), "search": name, "best": 0, "objective": _value(search, 0)})
    verdicts = _verdicts(stopped, whole, ours, default, _value(stopped, best), _value(whole, 0))
    return HEADER, rows, () if quick else verdicts


def wider_space() -> dict[str, Any]:
    """The space file with `WIDER`."""
    declared: dict[str, Any] = yaml.safe_load(SPACE.read_text())
    return {**declared, "space": {**declared["space"], **WIDER}}


def defaults(config: Mapping[str, Any], epochs: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The config that has nothing but the shop's tasks and an MMoE, and the main job's `config`; as many epochs."""
    training = {
        "epochs": epochs,
        "workers": 1,
        "early_stopping": {"metric": "validation/loss", "patience": None},
    }
    own = config["training"]
    chosen = {key: own[key] for key in ("optimizer", "global_batch_size")}
    bare = {**config, "model": {"name": "mmoe"}, "training": training}
    return bare, {**config, "training": {**training, **chosen}}


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
            line="the best trial beats the defaults on the validation part",
            goal="the paired 95 % interval of the difference lies above 0",
            measured=f"{best - of_default:+.4f} [{low_of_difference:+.4f}, {high_of_difference:+.4f}]",
            met=bool(low_of_difference > 0.0),
        ),
        Verdict(
            line="the best trial's own interval and the defaults'",
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
