"""What sharding does to the predictions: AUC of the same config with replicated and with sharded tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
from scipy.stats import ttest_1samp

from mtl_ray.config import Config, parse_config
from mtl_ray.data.snapshot import Snapshot, open_snapshot
from mtl_ray.evaluation.differences import Difference, task_differences
from mtl_ray.predictor import Predictor
from mtl_ray.run_folder import RunFolder
from mtl_ray.training.launch import train
from tests.benchmarks.measure import Measured, Side, measure
from tests.benchmarks.quality.data_set import Prepared
from tests.benchmarks.quality.figures import evaluated, predictions_file
from tests.benchmarks.quality.ours import predictions
from tests.benchmarks.results import Verdict, say

REPLICATED, SHARDED = "replicated", "sharded"
WORKERS = 2
AUC = "roc_auc"
CONFIDENCE = 0.95
OVERRIDES = (
    # What sharded tables learn by, and nothing that they do not go with. What is left beside the placement is that
    # training.clip_norm is of all other parameters where tables are sharded.
    "training.optimizer.embeddings={name: rowwise_adagrad}",
    "training.optimizer.embedding_weight_decay=0",
)


@dataclass(frozen=True)
class PlacedTraining:
    """One training with `WORKERS` Ray Train workers, and its predictions."""

    config: Config
    snapshot: Snapshot
    keep: str

    def warm_up(self) -> None:
        """Nothing: imports are done."""

    def run(self) -> RunFolder:
        """To the end, or until early stopping."""
        return train(self.config, partial(say, markup=False), lambda _: None, self.snapshot).run

    def check(self, result: RunFolder) -> dict[str, Any]:
        """Metrics of the best epoch; the predictions are kept."""
        predictor = Predictor.load(result.checkpoint("best"))
        predicted = partial(predictions, predictor, self.config, self.snapshot)
        return {"run": str(result.path), **evaluated(self.config, self.snapshot, predicted, self.keep)}


def training(snapshot: str, config: dict[str, Any], keep: str) -> Side:
    """Target of `measure`; `config` is the whole tree."""
    return PlacedTraining(parse_config(config), open_snapshot(snapshot), keep)


def accuracy(data: Prepared, folder: Path, seeds: int, sharding: str) -> tuple[list[dict[str, Any]], list[Verdict]]:
    """The differences of every binary task for each seed, and whether they are within noise.

    Each seed is trained replicated and sharded; one seed more, replicated, says how far a seed moves the AUC. What the
    tables' rows begin with is drawn in another way where they are sharded, so that the same seed is not the same start.

    Raises RuntimeError where a training fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [*((placement, seed) for seed in range(seeds) for placement in (REPLICATED, SHARDED)), (REPLICATED, seeds)]
    kept = {name: _trained(data, folder, *name, sharding) for name in names}
    config, snapshot = parse_config(data.config), open_snapshot(data.snapshot)
    compared = [((SHARDED, seed), (REPLICATED, seed)) for seed in range(seeds)]
    compared += [((REPLICATED, seed), (REPLICATED, 0)) for seed in range(1, seeds + 1)]
    rows = [
        {"seed": of[1], **found.model_dump()}
        for of, against in compared
        for found in _differences(config, snapshot, (of, kept[of]), (against, kept[against]))
    ]
    return rows, [verdict(task, rows) for task in dict.fromkeys(row["task"] for row in rows)]


def verdict(task: str, rows: Sequence[Mapping[str, Any]]) -> Verdict:
    """Within noise: 0 lies in the interval of the mean over seeds. With one seed: in that of the paired bootstrap over
    users, or else the difference is smaller than the largest of another replicated seed to the first.

    The bootstrap knows nothing of what another start would have given, which moves a rare task's AUC further.
    """
    own = [row for row in rows if row["task"] == task]
    placed = [row for row in own if row["of"].startswith(SHARDED)]
    each = [float(row["difference"]) for row in placed]
    if len(each) > 1:
        interval = ttest_1samp(each, 0.0).confidence_interval(CONFIDENCE)
        goal = f"the {CONFIDENCE:.0%} interval of the mean over {len(each)} seeds holds 0"
        mean = f"{fmean(each):+.5f} ({interval.low:+.5f} to {interval.high:+.5f})"
        measured = f"{mean}; by seed {', '.join(f'{one:+.5f}' for one in each)}"
        met = bool(interval.low <= 0.0 <= interval.high)
    else:
        (row,) = placed
        noise = max(abs(row["difference"]) for row in own if row["of"].startswith(REPLICATED))
        goal = f"the interval holds 0, or less than {noise:.5f} between replicated seeds"
        measured = f"{row['difference']:+.5f} ({row['low']:+.5f} to {row['high']:+.5f})"
        met = row["low"] <= 0.0 <= row["high"] or abs(row["difference"]) < noise
    plural = "s" if len(each) > 1 else ""
    return Verdict(
        line=f"AUC of {task}, sharded less replicated, {len(each)} seed{plural}", goal=goal, measured=measured, met=met
    )


def _trained(data: Prepared, folder: Path, placement: str, seed: int, sharding: str) -> str:
    """How the names of the files with the training's predictions begin; trained where they are not there."""
    name = f"{placement}-{sharding}-seed{seed}" if placement == SHARDED else f"{placement}-seed{seed}"
    keep = str(folder / name)
    if predictions_file(keep, "test").exists():
        return keep
    tree = {**data.config, "seed": seed, "name": name, "storage": str(folder / "runs")}
    tree["training"] = {**tree["training"], "placement": placement, "sharding": sharding, "workers": WORKERS}
    arguments = {"snapshot": data.snapshot, "config": tree, "keep": keep}
    found: Measured = measure("tests.benchmarks.embedding_scale.accuracy:training", arguments)
    if found.error is not None:
        raise RuntimeError(f"{name} could not be trained: {found.error}")
    say(f"· {name}: {found.seconds:.0f} s", markup=False)
    return keep


def _differences(
    config: Config,
    snapshot: Snapshot,
    of: tuple[tuple[str, int], str],
    against: tuple[tuple[str, int], str],
) -> list[Difference]:
    named = [(f"{placement}, seed {seed}", keep) for (placement, seed), keep in (of, against)]
    (one, first), (other, second) = ((name, pq.read_table(predictions_file(keep, "test"))) for name, keep in named)
    found = []
    for task, settings in config.tasks.items():
        found += task_differences(
            (one, first),
            (other, second),
            task,
            settings,
            [AUC],
            group_by=config.evaluation.group_by,
            statistics=snapshot.manifest.label_statistics[task],
            replicates=config.evaluation.replicates,
            confidence=config.evaluation.confidence,
            seed=0,
        )
    return [difference for difference in found if difference.difference is not None]
