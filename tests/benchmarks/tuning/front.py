"""Two objectives on KuaiRand: the front that multi-objective TPE finds, and that of as many random trials."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

from mtl_ray.tuning.front import front_of, hypervolume
from tests.benchmarks.quality.data_set import Prepared
from tests.benchmarks.results import Verdict
from tests.benchmarks.tuning.searches import searched

TRIALS, QUICK_TRIALS = 24, 4
SEEDS, QUICK_SEEDS = 3, 1
REFERENCE = (0.5, 0.5)
"""AUC of a coin toss, in both."""

OBJECTIVE = ["validation/click/roc_auc", "validation/like/roc_auc"]
SPACE = {
    "tasks.click.weight": {"loguniform": [0.05, 20.0]},
    "tasks.like.weight": {"loguniform": [0.05, 20.0]},
    "training.optimizer.learning_rate": {"loguniform": [3e-4, 1e-2]},
    "model.dropout": {"uniform": [0.0, 0.5]},
    "model.num_experts": {"int": [2, 8]},
}
HEADER = ("searcher", "seed", "trials", "front", "hypervolume", "best click", "best like", "wall s")


def kuairand(
    data: Prepared, folder: Path, quick: bool
) -> tuple[tuple[str, ...], list[dict[str, Any]], tuple[Verdict, ...]]:
    """Header, rows and verdicts."""
    rows = []
    trials = QUICK_TRIALS if quick else TRIALS
    for seed in range(QUICK_SEEDS if quick else SEEDS):
        for searcher in ("motpe", "random"):
            space = {"space": SPACE, "objective": OBJECTIVE, "searcher": searcher}
            config = {**data.config, "seed": 1000 * seed}
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
