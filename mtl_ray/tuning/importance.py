"""Which parameters mattered, and what the tasks' weights did to the tasks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from scipy.stats import spearmanr

from mtl_ray.tuning.outcome import Outcome, Trial
from mtl_ray.tuning.points import Space, as_optuna, is_weight, key_of

FEWEST_TRIALS = 8
"""Below so many trials a forest says nothing."""


def importances(outcome: Outcome, space: Space) -> dict[str, dict[str, float]]:
    """Target -> parameter -> share of the objective's variance that it explains by itself and with the others, by a
    functional analysis of variance over a random forest (Hutter, Hoos and Leyton-Brown, ICML 2014; Optuna's).

    Of the parameters that all trials have: one that counts only with some choice has no share in the others. Stopped
    trials count with what they had reached. Empty where there are too few trials, or all came to the same.
    """
    trials = [trial for trial in outcome.trials if trial.objective and None not in trial.objective]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = {}
    for at, target in enumerate(outcome.targets):
        study = optuna.create_study()
        for trial in trials:
            params, distributions = as_optuna(space, trial.values)
            study.add_trial(
                optuna.trial.create_trial(params=params, distributions=distributions, value=trial.objective[at])
            )
        values = {trial.objective[at] for trial in trials}
        if len(trials) < FEWEST_TRIALS or len(values) < 2:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
        found[target] = {key_of(name): share for name, share in shares.items()}
    return found


def weight_correlations(outcome: Outcome, metrics: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Weight parameter -> metric -> rank correlation (Spearman) over the trials; None where it is not defined.

    A weight counts as its share of all weights in the space: it is the proportions that move a model.
    """
    trials = [trial for trial in outcome.trials if trial.metrics]
    keys = [key for key in dict.fromkeys(key for trial in trials for key in trial.values) if is_weight(key)]
    if len(keys) == 1:
        shares = {keys[0]: [float(trial.values[keys[0]]) for trial in trials]}
    else:
        shares = {key: [_share(trial, key, keys) for trial in trials] for key in keys}
    return {key: {metric: _rank_correlation(shares[key], trials, metric) for metric in metrics} for key in keys}


def _share(trial: Trial, key: str, keys: Sequence[str]) -> float:
    total = math.fsum(float(trial.values[other]) for other in keys)
    return float(trial.values[key]) / total if total > 0.0 else math.nan


def _rank_correlation(shares: Sequence[float], trials: Sequence[Trial], metric: str) -> float | None:
    pairs = [
        (share, trial.metrics[metric])
        for share, trial in zip(shares, trials, strict=True)
        if trial.metrics.get(metric) is not None and math.isfinite(share)
    ]
    if len(pairs) < 3 or len({x for x, _ in pairs}) < 2 or len({y for _, y in pairs}) < 2:
        return None
    return float(spearmanr([x for x, _ in pairs], [y for _, y in pairs]).statistic)
