"""What issue 4 promises of the models' quality, against what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.quality.figures import RANKING
from tests.benchmarks.quality.rows import Row
from tests.benchmarks.quality.sides import BOOSTING, PEERS
from tests.benchmarks.quality.trainings import BEST
from tests.benchmarks.results import Verdict

SEEDS = 5
AHEAD_OF_BOOSTING = ("click", "long_view", "like")
ATTAINABLE = 0.93
ATTAINABLE_TASK = "click"
_WORDS = {"roc_auc": "AUC", "gauc": "GAUC"}


def kuairand_verdicts(rows: Sequence[Row], seeds: int, quick: bool) -> tuple[Verdict, ...]:
    """Ours against every peer on the mean over tasks, and against gradient boosting task by task; a quick run, or one
    that lacks a side or seeds, shows its figures without a verdict."""
    best = [row for row in rows if row.chosen and row.error is None]
    peers = {row.side: row for row in rows if not row.ours and row.error is None}
    counts = not quick and seeds >= SEEDS and len(best) == BEST and set(peers) == set(PEERS)
    found = [_mean_over_tasks(best, peers, metric, counts) for metric in RANKING]
    boosting = peers.get(BOOSTING)
    found += [_one_task(best, boosting, task, metric, counts) for metric in RANKING for task in AHEAD_OF_BOOSTING]
    together = [row.averaged for row in best if row.averaged is not None]
    if together:
        who = f"{BEST}, {seeds} trainings averaged,"
        found += [_one_task(together, boosting, task, "roc_auc", counts, who) for task in AHEAD_OF_BOOSTING]
    return tuple(found)


def _mean_over_tasks(best: Sequence[Row], peers: dict[str, Row], metric: str, counts: bool) -> Verdict:
    line = f"mean {_WORDS[metric]} over the binary tasks: our best {BEST} against every peer"
    goal = "each > every peer"
    if not best or not peers:
        return Verdict(line=line, goal=goal, measured=None, met=None)
    ours = {row.side: row.mean(metric) for row in best}
    theirs = {name: row.mean(metric) for name, row in peers.items()}
    measured = f"{_listed(ours)}; {_listed(theirs)}"
    return Verdict(
        line=line, goal=goal, measured=measured, met=min(ours.values()) > max(theirs.values()) if counts else None
    )


def _one_task(
    best: Sequence[Row], boosting: Row | None, task: str, metric: str, counts: bool, who: str = str(BEST)
) -> Verdict:
    line = f"{task}, {_WORDS[metric]}: our best {who} against gradient boosting"
    goal = "each > gradient boosting"
    if not best or boosting is None:
        return Verdict(line=line, goal=goal, measured=None, met=None)
    ours = {row.side: row.value(task, metric) for row in best}
    theirs = boosting.value(task, metric)
    if theirs is None or any(value is None for value in ours.values()):
        return Verdict(line=line, goal=goal, measured="not defined", met=None)
    defined = {name: value for name, value in ours.items() if value is not None}
    return Verdict(
        line=line,
        goal=goal,
        measured=f"{_listed(defined)}; {_listed({BOOSTING: theirs})}",
        met=min(defined.values()) > theirs if counts else None,
    )


def ecommerce_verdicts(rows: Sequence[Row], quick: bool) -> tuple[Verdict, ...]:
    """One a sharing structure."""
    return tuple(_attainable(row, quick) for row in rows)


def _attainable(row: Row, quick: bool) -> Verdict:
    line = f"{row.side}: share of the attainable AUC distance on {ATTAINABLE_TASK}"
    goal = f">= {ATTAINABLE:g}"
    if row.error is not None:
        return Verdict(line=line, goal=goal, measured=row.error, met=False)
    share = row.share_of_attainable(ATTAINABLE_TASK)
    if share is None:
        return Verdict(line=line, goal=goal, measured=None, met=None)
    return Verdict(line=line, goal=goal, measured=f"{share:.3f}", met=None if quick else share >= ATTAINABLE)


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items())
