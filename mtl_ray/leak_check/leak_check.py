"""From a config to the inflation by every view: sample, compare, train on what differs, judge."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from mtl_ray.config import Config
from mtl_ray.data.feature_store import FeatureRepo
from mtl_ray.data.labels import label_columns
from mtl_ray.data.spine import Spine, open_spine
from mtl_ray.data.staging import ResultFolder
from mtl_ray.errors import ConfigError
from mtl_ray.leak_check.inflation import inflations, unchanged
from mtl_ray.leak_check.page import write_page
from mtl_ray.leak_check.result import Inflation, LeakCheck, ViewResult
from mtl_ray.leak_check.sample import write_sample
from mtl_ray.leak_check.values import ViewChange, compare_views
from mtl_ray.leak_check.variants import ALL, Say, Variants
from mtl_ray.storage import below
from mtl_ray.tasks import BinaryTaskConfig

WORK = "work-"
"""How the folder of the sample and its training sets begins."""


def check_leaks(config: Config, rows: int, epochs: int, seeds: int, keep: bool, say: Say) -> LeakCheck:
    """Measure how much test AUC a join by keys alone would have faked, for each view and for all together.

    Args:
        config: the resolved config; `<storage>/leak_check/<name>/` receives the page and the result.
        rows: about how many spine rows are looked at.
        epochs: of each training.
        seeds: trainings behind each AUC.
        keep: leave the sample and the training sets there.
        say: receives a sentence whenever a stage begins.

    Raises:
        UserError: something that the user can mend, another offline store than this package's among it.
        DivergedError: a training diverged.
    """
    tasks = _binary_tasks(config)
    folder = ResultFolder.at(below(config.storage, "leak_check", config.name))
    say(f"reading feature service {config.features.service} from {config.features.repo}")
    repo = FeatureRepo(config.features)
    spine = _opened(config, repo, config.training_set.spine)
    work = Path(tempfile.mkdtemp(prefix=WORK, dir=folder.path))
    try:
        sampled = write_sample(spine, work / "spine" / "part-0.parquet", rows, config.seed)
        say(
            f"sampled {sampled:,} of {spine.num_rows:,} spine rows; joining them at their times and by their keys alone"
        )
        sample = _opened(config, repo, str(work / "spine"))
        changes = compare_views(repo, sample, work / "join", config.training_set.memory_budget)
        variants = Variants(config, str(work / "spine"), str(work), epochs, seeds, say)
        found = _inflations(config, variants, changes, tasks)
    finally:
        if not keep:
            shutil.rmtree(work, ignore_errors=True)
    views, together = _results(changes, found, tasks)
    check = LeakCheck(
        name=config.name,
        service=config.features.service,
        spine=config.training_set.spine,
        spine_rows=spine.num_rows,
        rows=sampled,
        epochs=epochs,
        seeds=seeds,
        resampled=config.evaluation.group_by or "rows",
        confidence=config.evaluation.confidence,
        views=views,
        together=together,
        work=below(folder.place, work.name) if keep else None,
    )
    check = write_page(check, folder)
    others = {left.name for left in folder.path.glob(f"{WORK}*")} - {work.name}  # of checks that were killed
    folder.publish(leave_out=sorted(others))
    return check


def _binary_tasks(config: Config) -> list[str]:
    tasks = [name for name, task in config.tasks.items() if isinstance(task, BinaryTaskConfig)]
    if not tasks:
        raise ConfigError(
            "The leak check measures ROC-AUC, and no task has one.",
            where="tasks",
            found=", ".join(f"{name}: {task.type}" for name, task in config.tasks.items()),
            allowed="at least one task of type binary",
        )
    return tasks


def _opened(config: Config, repo: FeatureRepo, path: str) -> Spine:
    training_set = config.training_set
    extra = [name for name in (training_set.sample_weight, *training_set.split.columns) if name is not None]
    labels, group_by = label_columns(config.tasks), config.evaluation.group_by
    return open_spine(path, list(repo.spec.join_keys), labels, repo.spec.context, extra, group_by)


def _inflations(
    config: Config, variants: Variants, changes: list[ViewChange], tasks: list[str]
) -> dict[str, dict[str, Inflation]]:
    """View (or ALL) -> task -> inflation, of views whose values differ; trains where there is one."""
    differing = [change.view for change in changes if change.changed > 0]
    same = [change.view for change in changes if change.changed == 0]
    if same:
        variants.say(f"the same values in every row by either join, so no leak: {', '.join(same)}")
    if not differing:
        variants.say("nothing to train: no view can leak")
        return {}
    exact, naive = variants.exact(), variants.naive(differing)
    return inflations(exact, naive, tasks, confidence=config.evaluation.confidence, seed=config.seed)


def _results(
    changes: list[ViewChange], found: dict[str, dict[str, Inflation]], tasks: list[str]
) -> tuple[tuple[ViewResult, ...], dict[str, Inflation]]:
    """All views in the service's order, and all of them together."""
    together = found.get(ALL) or next(iter(found.values()), None) or {task: unchanged(None) for task in tasks}
    zero = {task: unchanged(together[task]) for task in tasks}
    views = tuple(
        ViewResult(
            view=change.view,
            join_keys=change.join_keys,
            changed=change.changed,
            from_future=change.from_future,
            tasks=found.get(change.view, zero),
        )
        for change in changes
    )
    return views, together
