"""Two objectives on KuaiRand: the front that multi-objective TPE finds, and that of as many random trials.

What is searched are the two tasks' weights, in a shared bottom, where tasks take most from each other; a trial is one
epoch. With an MMoE, and its experts, dropout and rate in the space, the trade is no larger than what a training's AUC
moves by from seed to seed, and one trial may be the best in both.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

from mtl_ray.tuning.front import front_of, hypervolume
from tests.benchmarks.quality.architectures import with_architecture
from tests.benchmarks.quality.data_set import Prepared
from tests.benchmarks.results import Verdict
from tests.benchmarks.tuning.searches import searched

TRIALS, QUICK_TRIALS = 16, 4
SEEDS, QUICK_SEEDS = 3, 1
REFERENCE = (0.5, 0.5)
"""AUC of a coin toss, in both."""

OBJECTIVE = ["validation/click/roc_auc", "validation/like/roc_auc"]
SPACE = {
    "tasks.click.weight": {"loguniform": [0.02, 50.0]},
    "tasks.like.weight": {"loguniform": [0.02, 50.0]},
}
ARCHITECTURE = "shared_bottom"
SETTINGS = ("training.global_batch_size=1024", "training.epochs=1", "training.optimizer.learning_rate=0.002")
HEADER = ("searcher", "seed", "trials", "front", "hypervolume", "best click", "best like", "wall s")


def kuairand(
    data: Prepared, folder: Path, quick: bool
) -> tuple[tuple[str, ...], list[dict[str, Any]], tuple[Verdict, ...]]:
    """Header, rows and verdicts."""
    rows = []
    trials = QUICK_TRIALS if quick else TRIALS
    tree = with_architecture(data.config, "kuairand", ARCHITECTURE)
    for seed in range(QUICK_SEEDS if quick else SEEDS):
        for searcher in ("motpe", "random"):
            space = {"space": SPACE, "objective": OBJECTIVE, "searcher": searcher}
            config = {**tree, "seed": 1000 * seed}
            found = searched(folder, f"{searcher}_{seed}", config, space, "--trials", str(trials), "--concurrent", "2")
            front = found.scores
            rows.append(
                {
                    "searcher": searcher,
                    "seed": seed,
                    "trials": trials,
                    "front": len(front_of(dict(enumerate(front)))),
                    "hypervolume": round(hypervolume(front, REFERENCE), 6),
                    "best click": round(max(point[0] for point in front), 5),
                    "best like": round(max(point[1] for point in front), 5),
                    "wall s": found.summary["wall_seconds"],
                }
            )
    return HEADER, rows, () if quick else _verdicts(rows)


def _verdicts(rows: list[dict[str, Any]]) -> tuple[Verdict, ...]:
    ours = [row for row in rows if row["searcher"] == "motpe"]
    random = [row for row in rows if row["searcher"] == "random"]
    volumes = {name: [row["hypervolume"] for row in side] for name, side in (("motpe", ours), ("random", random))}
    return (
        Verdict(
            line="a front of points none of which dominates another",
            goal="at least three, with each seed",
            measured=", ".join(str(row["front"]) for row in ours),
            met=min(row["front"] for row in ours) >= 3,
        ),
        Verdict(
            line="hypervolume over an AUC of 0.5 in both, against random search with as many trials",
            goal="reported",
            measured=f"mean {fmean(volumes['motpe']):.5f} against {fmean(volumes['random']):.5f}; by seed "
            f"{volumes['motpe']} against {volumes['random']}",
            met=True,
        ),
    )
