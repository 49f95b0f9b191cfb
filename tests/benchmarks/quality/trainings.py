"""Every training of a run, each in a process of its own and kept on disk, and what of them is compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mtl_ray.config import parse_config
from mtl_ray.data.snapshot import open_snapshot
from tests.benchmarks.measure import Measured, measure
from tests.benchmarks.quality.averaged import averaged
from tests.benchmarks.quality.data_set import Prepared
from tests.benchmarks.quality.figures import PARTS, choice_score, predictions_file
from tests.benchmarks.quality.rows import Row
from tests.benchmarks.quality.sides import BOOSTING, RECHUB, Side, boosting_side, our_side, rechub_sides
from tests.benchmarks.results import say

BEST = 2
"""How many of ours are trained with every seed."""


@dataclass(frozen=True)
class Trainings:
    """Runs trainings, or finds what an earlier run left in `folder`."""

    folder: Path
    fresh: bool = False
    """Train again, whatever is there."""

    def run(self, side: Side, seed: int) -> Measured:
        """One training. One that failed is not kept."""
        kept = self._kept(side, seed)
        file = Path(f"{kept}.json")
        if file.exists() and _predictions_are_there(kept) and not self.fresh:
            return Measured(**json.loads(file.read_text())["measured"])
        self.folder.mkdir(parents=True, exist_ok=True)
        found = measure(side.target, {**side.arguments_with(seed), "keep": kept})
        say(f"· {side.name}, seed {seed}: {_in_words(found)}", markup=False)
        if found.error is None:
            document = {"side": side.name, "seed": seed, "settings": settings(side, seed), "measured": asdict(found)}
            aside = file.with_suffix(".part")
            aside.write_text(json.dumps(document, indent=1) + "\n")
            aside.rename(file)
        return found

    def together(self, side: Side, runs: Mapping[int, Measured]) -> dict[str, Any] | None:
        """Figures of the mean prediction of several trainings, none of which failed; else None."""
        if len(runs) < 2 or any(run.error is not None for run in runs.values()):
            return None
        config, snapshot = parse_config(side.arguments["config"]), open_snapshot(side.arguments["snapshot"])
        return averaged(config, snapshot, [self._kept(side, seed) for seed in runs])

    def _kept(self, side: Side, seed: int) -> str:
        """How the names of a training's files begin."""
        return str(self.folder.absolute() / f"{side.name}-seed{seed}-{key(side, seed)}")


def _predictions_are_there(kept: str) -> bool:
    return all(predictions_file(kept, part).exists() for part in PARTS)


def settings(side: Side, seed: int) -> dict[str, Any]:
    """What a training depends on beside the code: paths are left out, since the snapshot's name is its content."""
    arguments = dict(side.arguments)
    tree = arguments.pop("config")
    config = {name: tree[name] for name in side.reads or tree if name not in _PLACES}
    evaluation = {name: value for name, value in config["evaluation"].items() if name != "truth"}
    snapshot = Path(arguments.pop("snapshot")).name
    config["evaluation"] = evaluation
    return {"target": side.target, "snapshot": snapshot, "config": config, **arguments, "seed": seed}


_PLACES = ("name", "storage", "seed", "features", "training_set")


def key(side: Side, seed: int) -> str:
    """Twelve hexadecimal digits of the settings."""
    return hashlib.sha256(json.dumps(settings(side, seed), sort_keys=True).encode()).hexdigest()[:12]


def train_ours(dataset: str, prepared: Prepared, names: Sequence[str], seeds: int, trainings: Trainings) -> list[Row]:
    """Each with the first seed; the best two of the validation part with all `seeds`."""
    sides = {name: our_side(dataset, prepared, name) for name in names}
    first = {name: trainings.run(side, 0) for name, side in sides.items()}
    ranked = sorted((name for name in names if first[name].error is None), key=lambda name: -_score(first[name]))
    best = ranked[:BEST]
    rows = []
    for name, side in sides.items():
        runs = {0: first[name]}
        if name in best:
            runs |= {seed: trainings.run(side, seed) for seed in range(1, seeds)}
        rows.append(Row(name, True, runs, chosen=name in best, together=trainings.together(side, runs)))
    return rows


def train_peers(prepared: Prepared, names: Sequence[str], seeds: int, quick: bool, trainings: Trainings) -> list[Row]:
    """Gradient boosting once; torch-rechub's models with all `seeds` and the learning rate that is best on the
    validation part with the first of them."""
    rows = []
    for name in names:
        if name == BOOSTING:
            rows.append(Row(name, False, {0: trainings.run(boosting_side(prepared, quick), 0)}))
            continue
        assert name in RECHUB
        tried = [(side, trainings.run(side, 0)) for side in rechub_sides(prepared, name, quick)]
        side, first = max(tried, key=lambda pair: _score(pair[1]))
        runs = {0: first} | {seed: trainings.run(side, seed) for seed in range(1, seeds)}
        note = f"learning rate {side.arguments['learning_rate']:g}"
        rows.append(Row(name, False, runs, note=note, together=trainings.together(side, runs)))
    return rows


def _score(run: Measured) -> float:
    return float("-inf") if run.error is not None else choice_score(run.figures)


def _in_words(run: Measured) -> str:
    if run.error is not None:
        return run.error
    validation = {
        task: values["roc_auc"]["value"] for task, values in run.figures["validation"].items() if "roc_auc" in values
    }
    aucs = ", ".join(f"{task} {value:.4f}" for task, value in validation.items() if value is not None)
    return f"{run.seconds:.0f} s, epoch {run.figures.get('best_epoch', '-')}, validation AUC {aucs}"
