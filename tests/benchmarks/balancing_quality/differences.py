"""How far a method's AUC lies from another's, over paired seeds and resamples of the users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """Mean over the seeds."""

    value: float
    low: float | None
    """Ends of the 95 % interval; None with one seed."""
    high: float | None

    @property
    def sign(self) -> int:
        """-1 or 1 where the whole interval lies below or above 0, else 0."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0.0) - int(self.high < 0.0)

    def turned(self) -> Difference:
        """The other way round."""
        return Difference(
            -self.value, None if self.high is None else -self.high, None if self.low is None else -self.low
        )


def difference(
    values: Sequence[float],
    others: Sequence[float],
    replicates: Sequence[Sequence[float]],
    other_replicates: Sequence[Sequence[float]],
) -> Difference:
    """Of `values` less `others`, seed by seed `[S]`, each with its replicates `[S, K]` on the same resamples.

    The variance of the mean has two parts. That of the users is the variance over resamples of the mean over seeds;
    that of the seeds is the variance of the seeds' differences over their number. Three seeds are too few to be
    resampled, so the interval is Student's, with the degrees of freedom of Satterthwaite 1946 (An Approximate
    Distribution of Estimates of Variance Components).
    """
    each_S = np.subtract(values, others)
    mean = float(each_S.mean())
    if len(each_S) < 2:
        return Difference(mean, None, None)
    mean_K = np.subtract(replicates, other_replicates).mean(axis=0)
    users, seeds = float(mean_K.var(ddof=1)), float(each_S.var(ddof=1)) / len(each_S)
    total = users + seeds
    if total == 0.0:
        return Difference(mean, mean, mean)
    freedom = total**2 / (users**2 / (len(mean_K) - 1) + seeds**2 / (len(each_S) - 1))
    half = float(student.ppf(0.5 + CONFIDENCE / 2.0, freedom)) * total**0.5
    return Difference(mean, mean - half, mean + half)
