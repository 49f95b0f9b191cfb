"""What a leak check found."""

from __future__ import annotations

from typing import Any, Literal

from mtl_ray.schema import Settings

Verdict = Literal["leak", "none", "within noise", "lower", "not defined"]
"""leak: the whole interval lies above 0. none: the join changes no value, so it cannot leak. within noise: the interval
holds 0. lower: it lies below 0, so the plain join only harms. not defined: too few test rows of one class."""


class Inflation(Settings):
    """What one change of the join did to the test AUC of one task."""

    rows: int | None
    """Test rows with a label; None where nothing had to be trained."""
    point_in_time: float | None
    """ROC-AUC of the model trained and tested on point-in-time values, mean over seeds."""
    naive: float | None
    """ROC-AUC of the model trained and tested on the latest values, mean over seeds."""
    inflation: float | None
    """`naive` - `point_in_time`: what the leak would have faked. Exactly 0 where no value changed."""
    low: float | None
    """Ends of the interval of `inflation`, see `mtl_ray.leak_check.inflation`."""
    high: float | None
    verdict: Verdict


class ViewResult(Settings):
    """One feature view joined by its keys alone, all others point-in-time."""

    view: str
    join_keys: tuple[str, ...]
    """Columns of the spine."""
    changed: float
    """Share of the rows in which some value differs from the point-in-time one."""
    from_future: float
    """Share of the rows that got a feature row later than themselves."""
    tasks: dict[str, Inflation]

    @property
    def leaks(self) -> bool:
        """Whether the AUC of any task is inflated."""
        return any(item.verdict == "leak" for item in self.tasks.values())


class LeakCheck(Settings):
    """The result of one check."""

    name: str
    service: str
    spine: str
    spine_rows: int
    rows: int
    """Rows of the sample: all parts together."""
    epochs: int
    seeds: int
    """Trainings behind each AUC."""
    resampled: str
    """What the bootstrap draws: `rows`, or the column whose groups stay together."""
    confidence: float
    """Probability that all intervals together hold."""
    views: tuple[ViewResult, ...]
    together: dict[str, Inflation]
    """All views joined by their keys alone."""
    work: str | None = None
    """Where the sample and its training sets were kept."""
    page: str | None = None

    @property
    def leaking(self) -> tuple[str, ...]:
        """Names of the views that leak."""
        return tuple(view.view for view in self.views if view.leaks)

    def summary(self) -> dict[str, Any]:
        """What the job prints; JSON types only."""
        return {"leaking": list(self.leaking), **self.model_dump(mode="json")}
