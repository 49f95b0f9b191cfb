"""From configs to a comparison: one training set, every config trained on it, paired differences on the same rows."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from mtl_ray.comparison.folder import ComparisonFolder
from mtl_ray.comparison.one_training_set import check_one_training_set
from mtl_ray.comparison.page import PAGE_FILE, write_page
from mtl_ray.comparison.result import Comparison, Training, compared_metrics
from mtl_ray.comparison.trainings import Done, Say, train_all
from mtl_ray.comparison.twins import twin_of
from mtl_ray.config import Config
from mtl_ray.data.snapshot import Snapshot
from mtl_ray.data.splits import PARTS
from mtl_ray.errors import ConfigError
from mtl_ray.evaluation.differences import Difference, task_differences
from mtl_ray.evaluation.transfer import Transfer, write_transfer
from mtl_ray.report.page import write_report
from mtl_ray.run_folder import RunFolder
from mtl_ray.storage import below, relative
from mtl_ray.training.launch import check_trainable, verified_training_set


def compare(configs: Sequence[Config], twins: bool, split: str, parallel: int | None, say: Say) -> Comparison:
    """Train the configs on one training set, evaluate each on `split`, and compare them row by row.

    Asked for again after it was interrupted or a training failed, it goes on: what is trained and evaluated is kept,
    and what had begun goes on from its last checkpoint (`mtl_ray.comparison.folder`).

    Args:
        configs: the first is the baseline; its storage, evaluation settings and seed are the comparison's.
        twins: train a single-task twin of each task of the first config as well (`mtl_ray.comparison.twins`), and
            tell for every config which tasks sharing harmed and which it helped.
        split: validation or test.
        parallel: trainings at a time; None: as many as there is room for.
        say: receives a sentence whenever a stage begins.

    Raises:
        UserError: something that the user can mend, before any training has started. A training that fails later is
            part of the result.
    """
    check_split(split)
    if len(configs) + len(configs[0].tasks) * twins < 2:
        raise ConfigError(
            "There is nothing to compare with.",
            where="--config",
            found=configs[0].name,
            allowed="two configs or more, or one with --twins",
        )
    check_one_training_set(configs)
    first = configs[0]
    twin_of_task = {task: twin_of(first, task) for task in first.tasks} if twins else {}
    snapshot = verified_training_set(first, say)
    every = [*configs, *twin_of_task.values()]
    for config in every:
        check_trainable(config, snapshot)
    folder = ComparisonFolder.of(every, split, snapshot)
    if folder.runs:
        say(f"going on with {folder.results.place}")
    done = train_all(every, snapshot, split, parallel, folder, say)
    say("comparing predictions row by row")
    tables = {name: _predictions(end.run, split) for name, end in done.items() if end.run is not None}
    pairs = _Pairs(first, snapshot, tables)
    twin_names = {task: config.name for task, config in twin_of_task.items()}
    comparison = Comparison(
        name=first.name,
        created=folder.created,
        split=split,
        training_set=snapshot.uri or str(snapshot.path),
        rows=snapshot.manifest.rows[split],
        resampled=first.evaluation.group_by or "rows",
        replicates=first.evaluation.replicates,
        confidence=first.evaluation.confidence,
        trainings=(
            *(_training(config, done[config.name], None) for config in configs),
            *(_training(config, done[config.name], task) for task, config in twin_of_task.items()),
        ),
        differences=pairs.of(configs[1:], dict.fromkeys(first.tasks, first.name)),
        transfer=pairs.of(configs, twin_names) if twins else (),
        folder=folder.results.place,
    )
    write_page(comparison, folder.results.path)
    folder.results.publish()
    if twins:
        _tell_runs(comparison, done, configs)
    return comparison


def check_split(split: str) -> None:
    """Raise `ConfigError` for a part that nothing is judged by."""
    judged = PARTS[1:]
    if split not in judged:
        raise ConfigError(
            "Models are not compared on this part.", where="--split", found=split, allowed=", ".join(judged)
        )


def _predictions(run: str, split: str) -> pa.Table:
    return pq.read_table(RunFolder.open(run).predictions(split)).sort_by("row_id")


def _training(config: Config, done: Done, task: str | None) -> Training:
    values = {}
    for result in done.result.tasks if done.result is not None else ():
        wanted = compared_metrics(result.type, result.metrics)
        values[result.task] = {name: result.metrics[name] for name in wanted}
    return Training(
        name=config.name,
        model=config.model.name,
        twin_of=task,
        run=done.run,
        error=done.error,
        seconds=done.summary.get("seconds"),
        parameters=done.summary.get("parameters"),
        tasks=values,
    )


class _Pairs:
    """Differences between predictions of the same rows."""

    def __init__(self, config: Config, snapshot: Snapshot, tables: dict[str, pa.Table]) -> None:
        self._config = config
        self._statistics = snapshot.manifest.label_statistics
        self._tables = tables

    def of(self, configs: Sequence[Config], against: dict[str, str]) -> tuple[Difference, ...]:
        """Each config less, in every task, the training that `against` names; none where one of them failed."""
        settings = self._config.evaluation
        found: list[Difference] = []
        for name in (config.name for config in configs):
            for task, other in against.items():
                if name not in self._tables or other not in self._tables:
                    continue
                config = self._config.tasks[task]
                metrics = config.build(task, self._statistics[task]).metrics(settings.group_by is not None)
                known = [value for metric in metrics.values() for value in metric.compute()]
                found += task_differences(
                    (name, self._tables[name]),
                    (other, self._tables[other]),
                    task,
                    config,
                    compared_metrics(config.type, known),
                    group_by=settings.group_by,
                    statistics=self._statistics[task],
                    replicates=settings.replicates,
                    confidence=settings.confidence,
                    seed=self._config.seed,
                )
        return tuple(found)


def _tell_runs(comparison: Comparison, done: dict[str, Done], configs: Sequence[Config]) -> None:
    """Let the report of each config's run show what sharing did to its tasks."""
    for config in configs:
        place = done[config.name].run
        differences = tuple(item for item in comparison.transfer if item.of == config.name)
        if place is None or not differences:
            continue
        run = RunFolder.open(place)
        page = relative(below(comparison.folder, PAGE_FILE), run.place)
        write_transfer(
            Transfer(split=comparison.split, confidence=comparison.confidence, page=page, differences=differences),
            run.path,
        )
        write_report(run.path)
        run.publish()
