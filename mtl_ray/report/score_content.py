"""What the report says about the ranking score: its formula, what it was tuned for, and how well it orders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mtl_ray.evaluation.results import EvaluationResult
from mtl_ray.fusion import Fusion
from mtl_ray.report.comparison import interval_text, value_text
from mtl_ray.report.formatting import ABSENT, count, decimal, percent
from mtl_ray.report.glossary import metric_info


@dataclass(frozen=True)
class ScoreRow:
    """One metric of the score, on the label of one task."""

    task: str
    metric: str
    value: str
    interval: str
    own: str
    """The same of the task's own prediction."""


@dataclass(frozen=True)
class ScoreContent:
    """The section on the ranking score."""

    formula: str
    """product or sum."""
    terms: tuple[tuple[str, str], ...]
    """Task and its power or weight."""
    facts: tuple[tuple[str, str], ...]
    remark: str
    split: str
    confidence: str | None
    """Of the intervals; None where none was asked for."""
    rows: tuple[ScoreRow, ...]


def score_content(evaluation: EvaluationResult) -> ScoreContent | None:
    """The section, or None for a checkpoint without a ranking score."""
    score = evaluation.score
    if score is None:
        return None
    return ScoreContent(
        formula=score.fusion.formula,
        terms=tuple((task, _weight(weight)) for task, weight in score.fusion.weights.items()),
        facts=_facts(score.fusion),
        remark=_remark(score.fusion),
        split=evaluation.split,
        confidence=percent(evaluation.confidence) if evaluation.replicates else None,
        rows=tuple(
            ScoreRow(
                task=task,
                metric=metric_info(metric).title,
                value=value_text(metric, value.value),
                interval=interval_text(metric, value) or ABSENT,
                own=value_text(metric, value.baseline),
            )
            for task, metrics in score.metrics.items()
            for metric, value in metrics.items()
        ),
    )


def _weight(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def _facts(fusion: Fusion) -> tuple[tuple[str, str], ...]:
    if fusion.metric is None:
        return ()
    facts = [
        ("tuned for", _objective(fusion.metric)),
        ("reached", decimal(fusion.value, 4)),
        ("with the declared weights", decimal(fusion.value_of_declared, 4)),
    ]
    if fusion.trials is not None:
        facts.append(("sets of weights tried", count(fusion.trials)))
    if fusion.weights != fusion.declared:
        facts.append(("declared", ", ".join(f"{task} {_weight(weight)}" for task, weight in fusion.declared.items())))
    return tuple(facts)


def _objective(metric: Mapping[str, float]) -> str:
    """The metric's name, or the weighted sum of several."""
    if list(metric.values()) == [1.0]:
        return next(iter(metric))
    return " + ".join(f"{_weight(weight)} × {name}" for name, weight in metric.items())


def _remark(fusion: Fusion) -> str:
    if fusion.metric is None:
        return "The weights are those of the config."
    if fusion.weights == fusion.declared:
        return "No set of weights that was tried orders the validation part better than the config's."
    return "The weights are those that order the validation part best."
