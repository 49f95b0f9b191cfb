"""Config of the ranking score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator

from mtl_ray.errors import ConfigError, nearest
from mtl_ray.schema import Settings
from mtl_ray.tasks import BinaryTaskConfig, NextItemTaskConfig, TaskConfig

RANKING_METRICS = ("roc_auc", "gauc")
"""Metrics of a score that is no probability: they look at its order alone."""

SCORE_COLUMN = "score"
"""Column of the predictions that holds the score; no task may bear its name beside it."""

Weight = Annotated[float, Field(allow_inf_nan=False)]


class FusionTuningConfig(Settings):
    """How the weights are chosen on the validation part."""

    metric: str | dict[str, Weight]
    """`validation/<task>/gauc` or `.../roc_auc`: how well the score orders by that task's label; or several of them,
    each with its weight in the sum that is maximised."""
    trials: int = Field(default=200, ge=1)
    """Sets of weights that are tried beside the declared ones; what is chosen is never worse on validation."""
    largest: float = Field(default=4.0, gt=0.0, allow_inf_nan=False)
    """Largest absolute weight that is tried."""

    @field_validator("metric")
    @classmethod
    def _not_empty(cls, value: str | dict[str, float]) -> str | dict[str, float]:
        if not value:
            raise ValueError("metric must name at least one metric, such as validation/click/gauc")
        return value

    @property
    def metrics(self) -> dict[str, float]:
        """Weight in the objective by metric."""
        return {self.metric: 1.0} if isinstance(self.metric, str) else dict(self.metric)


class FusionConfig(Settings):
    """`fusion` of the config: one score a row from the predictions of several tasks."""

    formula: Literal["product", "sum"] = "product"
    """product: of predictions to the power of their weights; sum: of predictions times their weights."""
    weights: Annotated[dict[str, Weight], Field(min_length=1)]
    """Task -> power or weight, where tuning begins; tuning keeps its sign (negative: more of it ranks lower)."""
    tune: FusionTuningConfig | None = None
    """null: the weights are used as declared."""

    @field_validator("weights")
    @classmethod
    def _some_weight(cls, value: dict[str, float]) -> dict[str, float]:
        if not any(value.values()):
            raise ValueError("weights must hold a number other than 0")
        return value


def check_fusion(config: FusionConfig, tasks: Mapping[str, TaskConfig], grouped: bool) -> None:
    """Raise `ConfigError` where `config` names tasks or metrics that `tasks` do not have. `grouped`: gauc exists."""
    if SCORE_COLUMN in tasks:
        raise ConfigError(
            "A task bears the name of the ranking score.",
            where=f"tasks.{SCORE_COLUMN}",
            found=SCORE_COLUMN,
            allowed="another name, beside fusion",
            fix=f"rename the task and keep its column with label: {SCORE_COLUMN}",
        )
    for name in config.weights:
        if name not in tasks:
            raise _unknown(name, tasks, f"fusion.weights.{name}")
        if _has_classes(tasks[name]):
            raise ConfigError(
                "The ranking score is made of one number a task, and this task predicts classes.",
                where=f"fusion.weights.{name}",
                found=f"type {tasks[name].type}",
                allowed=", ".join(n for n, task in tasks.items() if not _has_classes(task)) or "nothing",
                fix="leave the task out of fusion.weights",
            )
        if config.formula == "product" and isinstance(tasks[name], NextItemTaskConfig):
            raise ConfigError(
                "A product is of positive predictions, and this task's are scores of either sign.",
                where=f"fusion.weights.{name}",
                found=f"type {tasks[name].type}, formula product",
                allowed="formula sum, or tasks of other types",
                fix="fusion.formula=sum, or leave the task out of fusion.weights",
            )
    for metric in config.tune.metrics if config.tune else ():
        _check_metric(metric, tasks, grouped)


def _check_metric(metric: str, tasks: Mapping[str, TaskConfig], grouped: bool) -> None:
    known = [
        f"validation/{name}/{kind}"
        for name, task in tasks.items()
        if isinstance(task, BinaryTaskConfig)
        for kind in RANKING_METRICS
        if grouped or kind != "gauc"
    ]
    if metric in known:
        return
    guess = nearest(metric, known)
    hint = "gauc needs evaluation.group_by" if metric.endswith("/gauc") and not grouped else "name one of them"
    raise ConfigError(
        "The ranking score cannot be tuned for this metric.",
        where="fusion.tune.metric",
        found=metric,
        allowed=", ".join(known) or "nothing, as no task is binary",
        fix=f"did you mean {guess}?" if guess and not metric.endswith("/gauc") else hint,
    )


def _has_classes(task: TaskConfig) -> bool:
    return hasattr(task, "classes")


def _unknown(name: str, tasks: Mapping[str, TaskConfig], where: str) -> ConfigError:
    guess = nearest(name, tasks)
    return ConfigError(
        "The ranking score names a task that does not exist.",
        where=where,
        found=name,
        allowed=", ".join(tasks),
        fix=f"did you mean {guess}?" if guess else "name one of the tasks",
    )
