"""Weights of the ranking score that are best on the validation part.

Ranking metrics are step functions of the weights and have no gradient, so the weights are searched: Optuna's
tree-structured Parzen estimator (Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011), after the
declared weights and each task alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import optuna

from mtl_ray.fusion.config import FusionConfig
from mtl_ray.fusion.score import Fusion
from mtl_ray.metrics import GroupedRankingMetrics, Metric, RankingMetrics

Array = npt.NDArray[np.generic]


def tuned(
    config: FusionConfig,
    predictions: Mapping[str, npt.NDArray[np.floating]],
    labels: Mapping[str, tuple[Array, npt.NDArray[np.bool_]]],
    groups: Array | None,
    seed: int,
) -> Fusion:
    """The score of `config` with the weights that its metric likes best.

    Args:
        config: with `tune`.
        predictions: `[B]` in label units by task, of all tasks that the score reads.
        labels: label `[B]` and whether it is observed `[B]`, by task, of all tasks that the metric names.
        groups: whose rows are ranked among each other, `[B]`, for gauc.
        seed: of the search: the same seed gives the same weights.

    Where the metric is not defined (one class only) the declared weights stay.
    """
    tuning = config.tune
    assert tuning is not None
    declared = Fusion.as_declared(config)

    def value(fusion: Fusion) -> float:
        score = fusion.score(predictions)
        return sum(
            weight * _metric(name, score, labels, groups) for name, weight in tuning.metrics.items() if weight != 0.0
        )

    of_declared = value(declared)
    if not np.isfinite(of_declared):
        return declared

    def objective(trial: optuna.Trial) -> float:
        weights = {
            task: trial.suggest_float(task, 0.0, tuning.largest) * (-1.0 if start < 0.0 else 1.0)
            for task, start in config.weights.items()
        }
        return value(declared.model_copy(update={"weights": weights}))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for task in config.weights:
        study.enqueue_trial({other: float(other == task) for other in config.weights})
    study.optimize(objective, n_trials=tuning.trials)
    best = study.best_trial
    # The declared weights win ties: what differs by nothing is not to be told as tuned.
    found = {task: best.params[task] * (-1.0 if start < 0.0 else 1.0) for task, start in config.weights.items()}
    better = best.value is not None and best.value > of_declared
    return declared.model_copy(
        update={
            "weights": found if better else config.weights,
            "metric": tuning.metrics,
            "value": best.value if better else of_declared,
            "value_of_declared": of_declared,
            "trials": tuning.trials,
        }
    )


def _metric(
    name: str,
    score: npt.NDArray[np.float64],
    labels: Mapping[str, tuple[Array, npt.NDArray[np.bool_]]],
    groups: Array | None,
) -> float:
    _, task, kind = name.split("/")
    label, observed = labels[task]
    metric: Metric = GroupedRankingMetrics() if kind == "gauc" else RankingMetrics()
    metric.update(score[observed], label[observed], group=None if groups is None else groups[observed])
    return metric.compute()[kind]
