"""The head of the report: the run in one breath, and the facts that place it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from mtl_ray.evaluation.results import EvaluationResult
from mtl_ray.report.formatting import ABSENT, count, duration, moment, number
from mtl_ray.report.history import History
from mtl_ray.report.run_files import RunFiles
from mtl_ray.report.task_content import TaskContent

Fact = tuple[str, str]


@dataclass(frozen=True)
class Verdict:
    """The run in one breath."""

    lead: str
    rest: str


def verdict(tasks: Sequence[TaskContent], evaluation: EvaluationResult | None) -> Verdict:
    """What a reader who reads one line must know."""
    shown = [task for task in tasks if not task.unobserved]
    if not shown:
        return Verdict("No task has a label to be judged by.", "")
    first = shown[0]
    lead = f"{first.name} {first.card.metric} {first.card.value}"
    if evaluation is None:
        return Verdict(f"{lead}.", "Trained, not evaluated yet: every figure below is from the validation part.")
    remark = first.card.remark
    lead = f"{lead}, {remark}." if remark and not remark.endswith(".") else f"{lead}."
    return Verdict(lead, _against_baseline(shown, len(tasks) - len(shown)))


def _against_baseline(tasks: Sequence[TaskContent], unobserved: int) -> str:
    better = sum(task.judgement == "better" for task in tasks)
    judged = sum(task.judgement is not None for task in tasks)
    rest = f" {unobserved} {'has' if unobserved == 1 else 'have'} no label in these rows." if unobserved else ""
    if judged == 0:
        return rest.strip()
    if better == judged:
        subject = "It beats" if judged == 1 else "Both tasks beat" if judged == 2 else f"All {judged} tasks beat"
        return f"{subject} predicting the mean.{rest}"
    others = [task.name for task in tasks if task.judgement not in ("better", None)]
    return f"{better} of {judged} tasks beat predicting the mean; {_listed(others)} not.{rest}"


def _listed(names: Sequence[str]) -> str:
    verb = "does" if len(names) == 1 else "do"
    if len(names) > 3:
        names = [*names[:2], f"{len(names) - 2} more"]
    return f"{names[0] if len(names) == 1 else ', '.join(names[:-1]) + ' and ' + names[-1]} {verb}"


def finished_at(run: RunFiles, evaluation: EvaluationResult | None) -> str:
    """When the run was made, as well as its files tell."""
    for key in ("finished", "created", "started"):
        if run.summary.get(key):
            return moment(run.summary[key])
    if run.environment.get("created"):
        return moment(run.environment["created"])
    return ABSENT if evaluation is None else moment(evaluation.created)


def header_facts(run: RunFiles, evaluation: EvaluationResult | None, history: History) -> tuple[Fact, ...]:
    """What was trained on what, and how long."""
    model = node(run.config, "model")
    parameters = number(run.summary.get("parameters"))
    facts = [
        ("Data set", _data_set(run.config)),
        ("Model", str(model.get("name") or ABSENT)),
        ("Tasks", str(len(node(run.config, "tasks")))),
    ]
    if parameters is not None:
        facts.append(("Parameters", count(parameters)))
    if evaluation is not None:
        facts.append((f"Rows judged ({evaluation.split})", count(evaluation.rows)))
    facts.append(("Epochs", _epochs(run, history)))
    training = node(run.config, "training")
    elastic = node(training, "workers")
    if (workers := number(training.get("workers"))) is not None:
        facts.append(("Workers", count(workers)))
    elif elastic:
        facts.append(("Workers", f"{elastic.get('min')} to {elastic.get('max')}"))
    seconds = number(run.summary.get("seconds")) or history.total_seconds()
    if seconds is not None:
        facts.append(("Training took", duration(seconds)))
    return tuple(facts)


def _epochs(run: RunFiles, history: History) -> str:
    planned = number(node(run.config, "training").get("epochs"))
    text = str(history.epochs) if planned is None or planned == history.epochs else f"{history.epochs} of {planned:g}"
    return text if history.best is None or history.epochs < 2 else f"{text}, best {history.best:g}"


def _data_set(config: dict[str, Any]) -> str:
    spine = node(config, "training_set").get("spine")
    if not spine:
        return ABSENT
    path = PurePosixPath(str(spine))
    return path.parent.name if path.stem in ("spine", "part-0") and path.parent.name else path.name


def training_facts(run: RunFiles) -> tuple[Fact, ...]:
    """The settings that shape the curves."""
    settings = node(run.config, "training")
    facts: list[Fact] = []
    if (size := number(settings.get("global_batch_size"))) is not None:
        facts.append(("rows a step", count(size)))
    if settings.get("precision"):
        facts.append(("precision", str(settings["precision"])))
    optimizer = node(settings, "optimizer")
    if optimizer:
        facts.append(
            (
                "optimizer",
                ", ".join(
                    str(value) if key == "name" else f"{key} {value}" for key, value in list(optimizer.items())[:2]
                ),
            )
        )
    weighting = node(run.config, "weighting").get("name")
    if weighting:
        facts.append(("loss weighting", str(weighting)))
    stop = node(settings, "early_stopping").get("metric")
    if stop:
        facts.append(("best epoch by", str(stop)))
    return tuple(facts)


def node(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under `key`, empty where there is none."""
    found = config.get(key)
    return found if isinstance(found, Mapping) else {}
