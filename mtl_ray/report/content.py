"""Collects what the page shows from the files of a run, in the words and digits in which it will read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import yaml

from mtl_ray.evaluation.results import EvaluationResult
from mtl_ray.report.advice import Advice, advice
from mtl_ray.report.balance_content import BalanceContent, balance_content
from mtl_ray.report.charts import training
from mtl_ray.report.contract_content import ContractContent, contract_content
from mtl_ray.report.data_content import DataContent, data_content
from mtl_ray.report.formatting import count, moment, number, percent
from mtl_ray.report.glossary import MetricInfo, metric_info, overview_metrics
from mtl_ray.report.header import Fact, Verdict, finished_at, header_facts, node, training_facts, verdict
from mtl_ray.report.history import History
from mtl_ray.report.inside_content import InsideContent, inside_content
from mtl_ray.report.run_files import RunFiles
from mtl_ray.report.score_content import ScoreContent, score_content
from mtl_ray.report.step_profile import ProfileContent, profile_content
from mtl_ray.report.task_content import TaskContent, task_content
from mtl_ray.report.task_diagrams import Chart


@dataclass(frozen=True)
class OverviewTable:
    """All tasks of one type."""

    type: str
    columns: tuple[tuple[str, str], ...]
    """Metric name and title."""
    tasks: tuple[TaskContent, ...]
    attainable: bool
    """Whether any task's attainable value is known."""


@dataclass(frozen=True)
class EvaluationContent:
    """What was evaluated, and how."""

    split: str
    facts: tuple[Fact, ...]
    confidence: str
    replicates: int
    by_group: str | None
    """Column whose groups the bootstrap draws whole."""
    other_splits: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """Everything in the report."""

    title: str
    run: str
    when: str
    verdict: Verdict
    facts: tuple[Fact, ...]
    tasks: tuple[TaskContent, ...]
    overview: tuple[OverviewTable, ...]
    evaluation: EvaluationContent | None
    score: ScoreContent | None
    curves: tuple[Chart, ...]
    training_facts: tuple[Fact, ...]
    balance: BalanceContent | None
    profile: ProfileContent | None
    inside: InsideContent | None
    data: DataContent
    contract: ContractContent | None
    glossary: tuple[MetricInfo, ...]
    advice: tuple[Advice, ...]
    config: str
    environment: str


def collect(run: RunFiles) -> Page:
    """The page of `run`."""
    history = History(run)
    evaluation = next(iter(run.evaluations.values()), None)
    tasks = _tasks(run, evaluation, history)
    planned = number(node(run.config, "training").get("epochs"))
    name = str(run.config.get("name") or run.folder.name)
    return Page(
        title=name,
        run=run.folder.name,
        when=finished_at(run, evaluation),
        verdict=verdict(tasks, evaluation),
        facts=header_facts(run, evaluation, history),
        tasks=tasks,
        overview=() if evaluation is None else _overview(tasks),
        evaluation=None if evaluation is None else _evaluation(evaluation, list(run.evaluations)),
        score=None if evaluation is None else score_content(evaluation),
        curves=_curves(history),
        training_facts=training_facts(run),
        balance=balance_content(run.config, history),
        profile=profile_content(run.profile),
        inside=inside_content(run.diagnostics, run.transfer),
        data=data_content(run.training_set, run.config),
        contract=contract_content(run.contract, run.config),
        glossary=_glossary(tasks),
        advice=advice(_shown_path(run), evaluation, history, None if planned is None else int(planned)),
        config=run.config_text,
        environment=yaml.safe_dump(run.environment, sort_keys=False, allow_unicode=True),
    )


def _shown_path(run: RunFiles) -> str:
    """The run's folder as the commands in the report name it: as the config does, not as this machine does."""
    storage = run.config.get("storage")
    return f"{storage}/{run.folder.name}" if storage else run.folder.name


def _tasks(run: RunFiles, evaluation: EvaluationResult | None, history: History) -> tuple[TaskContent, ...]:
    results = {} if evaluation is None else {result.task: result for result in evaluation.tasks}
    settings = node(run.config, "tasks")
    names = [*settings, *(name for name in results if name not in settings)]
    return tuple(
        task_content(str(name), at, settings.get(name) or {}, results.get(name), history)
        for at, name in enumerate(names)
    )


def _overview(tasks: Sequence[TaskContent]) -> tuple[OverviewTable, ...]:
    tables = []
    for kind in dict.fromkeys(task.type for task in tasks):
        members = tuple(task for task in tasks if task.type == kind)
        present = {metric for task in members for metric in task.rows}
        wanted = [metric for metric in overview_metrics(kind) if metric in present]
        wanted = wanted or sorted(present) or list(overview_metrics(kind)[:1])
        tables.append(
            OverviewTable(
                type=kind,
                columns=tuple((metric, metric_info(metric).title) for metric in wanted),
                tasks=members,
                attainable=any(task.attainable for task in members),
            )
        )
    return tuple(tables)


def _evaluation(evaluation: EvaluationResult, splits: Sequence[str]) -> EvaluationContent:
    facts = [
        ("part", evaluation.split),
        ("rows", count(evaluation.rows)),
        ("checkpoint", PurePosixPath(str(evaluation.checkpoint)).name),
        ("evaluated", moment(evaluation.created)),
    ]
    if evaluation.groups:
        facts.insert(2, (f"groups ({evaluation.group_by})", count(evaluation.groups)))
    return EvaluationContent(
        split=evaluation.split,
        facts=tuple(facts),
        confidence=percent(evaluation.confidence),
        replicates=evaluation.replicates,
        by_group=evaluation.group_by,
        other_splits=tuple(split for split in splits if split != evaluation.split),
    )


def _curves(history: History) -> tuple[Chart, ...]:
    charts: list[Chart] = []
    steps, train = history.by_step("train/loss"), history.by_epoch("train/loss")
    validation = history.by_epoch("validation/loss")
    if steps[0] or train[0] or validation[0]:
        markup = training.loss_curve(
            steps, train, validation, best=history.best, key="total-loss", label="Total loss by epoch"
        )
        charts.append(Chart("Total loss", "tasks weighted as configured", markup))
    for title, note, key, unit in (
        ("Throughput", "rows a second, all workers", "samples_per_second", "rows / s"),
        ("Learning rate", "after warm-up and decay", "learning_rate", "rate"),
    ):
        series = history.by_step(key)
        if series[0]:
            rate = key == "samples_per_second"
            markup = training.rate_curve(series, unit=unit, median=rate, key=key, label=f"{title} by step")
            charts.append(Chart(title, note, markup))
    return tuple(charts)


def _glossary(tasks: Iterable[TaskContent]) -> tuple[MetricInfo, ...]:
    names: dict[str, None] = {}
    for task in tasks:
        names.update(dict.fromkeys(task.rows))
        if not task.rows and task.epochs is not None:
            names.update(dict.fromkeys(task.epochs.metrics))
    infos = dict.fromkeys(metric_info(name) for name in names)
    return tuple(info for info in infos if info.meaning)
