"""The space file: what is searched, for what, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mtl_ray.schema import Settings
from mtl_ray.tuning.objective import Declared
from mtl_ray.tuning.parameters import Parameter

SearcherName = Literal["random", "grid", "tpe", "nsga2", "motpe", "bohb"]

POPULATIONS = ("pbt", "pb2")
"""Schedulers that change parameters while a training runs."""

PAUSING = ("hyperband", "bohb")
"""Schedulers that pause trials, which go on from a checkpoint of Tune's."""


class NoSchedulerConfig(Settings):
    """Every trial trains to its end (which early stopping may bring)."""

    name: Literal["none"] = "none"


class _Judging(Settings):
    by: str | dict[str, float] | None = None
    """Metric or weighted sum that trials are stopped by; the objective where not given. Several objectives need one."""


class AshaConfig(_Judging):
    """Asynchronous successive halving (Li et al., MLSys 2020): of the trials that came so far, the worse ones stop.

    At epochs grace, grace * reduction, grace * reduction^2, ... a trial goes on if it is among the best 1 / reduction.
    """

    name: Literal["asha"]
    grace: int = Field(default=1, ge=1)
    """Epochs that every trial gets."""
    reduction: float = Field(default=3.0, gt=1.0)
    brackets: int = Field(default=1, ge=1)


class HyperBandConfig(_Judging):
    """HyperBand (Li et al., JMLR 2018): successive halving in several brackets; trials wait for each other."""

    name: Literal["hyperband"]
    reduction: float = Field(default=3.0, gt=1.0)


class BohbConfig(Settings):
    """BOHB (Falkner et al., ICML 2018): HyperBand's brackets, filled by a searcher of its own, `bohb`, which learns
    from what trials reach at each halving. Both look at the objective, of which there is one."""

    name: Literal["bohb"]
    reduction: float = Field(default=3.0, gt=1.0)
    random: float = Field(default=1 / 3, ge=0.0, le=1.0)
    """Share of the points that is drawn at random all the same."""


class MedianConfig(_Judging):
    """Stop a trial whose best is worse than the median of the others' running means (Golovin et al., KDD 2017)."""

    name: Literal["median"]
    grace: int = Field(default=1, ge=1)
    least: int = Field(default=3, ge=1)
    """Trials that there must be to compare with."""


class PbtConfig(_Judging):
    """Population based training (Jaderberg et al. 2017): the worst trials take over weights and parameters of the best
    ones while they train, and change the parameters."""

    name: Literal["pbt"]
    every: int = Field(default=1, ge=1)
    """Epochs between two exchanges."""
    quantile: float = Field(default=0.25, gt=0.0, le=0.5)
    """Share of the population that takes over, and share that it is taken from."""
    resample: float = Field(default=0.25, ge=0.0, le=1.0)
    """Probability of a new draw instead of a factor of 0.8 or 1.2."""


class Pb2Config(_Judging):
    """Population based bandits (Parker-Holder et al., NeurIPS 2020): as pbt, with a Gaussian process that proposes the
    changes; ranges only."""

    name: Literal["pb2"]
    every: int = Field(default=1, ge=1)
    quantile: float = Field(default=0.25, gt=0.0, le=0.5)


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


SchedulerConfig = Annotated[
    Annotated[
        NoSchedulerConfig | AshaConfig | HyperBandConfig | BohbConfig | MedianConfig | PbtConfig | Pb2Config,
        Field(discriminator="name"),
    ],
    BeforeValidator(_named),
]
"""`asha`, or `{name: asha, reduction: 2}`."""


class StartConfig(Settings):
    """Where a search begins, beside the config's own values."""

    values: tuple[dict[str, Any], ...] = ()
    """Known good points: parameter -> value. What they leave out is drawn."""
    searches: tuple[str, ...] = ()
    """Folders or URIs of finished searches, whose trials count as if they had been made here."""
    default: bool = True
    """Whether the config as it is, as far as it lies in the space, is the first trial."""


class SearchSettings(Settings):
    """A space file."""

    space: dict[str, Parameter]
    """Dotted name of a config key -> what to try for it."""
    objective: Declared = "validation/loss"
    searcher: SearcherName = "tpe"
    scheduler: SchedulerConfig = NoSchedulerConfig()
    start: StartConfig = StartConfig()
    max_failures: int = Field(default=1, ge=0)
    """How often a trial whose process was lost goes on from its last epoch."""
    gpu_share: float = Field(default=1.0, gt=0.0, le=1.0)
    """With training.use_gpu and one worker: the part of a GPU that a trial takes, so that several share one."""
