"""What jobs/tune.py is asked for: a new search, one to go on with, or the promotion of a trial."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from mtl_ray.config import load_config
from mtl_ray.errors import ConfigError
from mtl_ray.tuning.load import load_space
from mtl_ray.tuning.outcome import Outcome
from mtl_ray.tuning.promote import Promotion, promote_trial
from mtl_ray.tuning.search import resume as resume_search
from mtl_ray.tuning.search import search

AUTO = "auto"
"""Value of --resume."""

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def request(
    config: Path | None,
    space: Path | None,
    overrides: Sequence[str],
    trials: int | None,
    concurrent: int | None,
    time_budget: str | None,
    resume: str | None,
    run: str | None,
    promote: int | None,
    say: Callable[[str], None],
) -> Outcome | Promotion:
    """Do what the options of jobs/tune.py say. Raises ConfigError where they do not go together."""
    given = {
        name
        for name, value in (
            ("--config", config),
            ("--space", space),
            ("dotted.key=value", overrides or None),
            ("--trials", trials),
            ("--concurrent", concurrent),
            ("--time-budget", time_budget),
            ("--resume", resume),
            ("--run", run),
            ("--promote", promote),
        )
        if value is not None
    }
    again = resume == AUTO
    if resume is not None and not again:
        _check(given, {"--resume"})
        return resume_search(resume, say)
    if promote is not None or run is not None:
        _check(given, {"--run", "--promote"})
        assert run is not None
        assert promote is not None
        return promote_trial(run, promote, say)
    optional = {"--trials", "--concurrent", "--time-budget", "dotted.key=value"}
    _check(given, {"--config", "--space"}, optional | {"--resume"} if again else optional)
    assert config is not None
    assert space is not None
    budget = None if time_budget is None else seconds(time_budget)
    return search(load_config(config, overrides), load_space(space), trials, concurrent, budget, say, again)


def seconds(text: str) -> float:
    """Of a duration such as 90s, 30m, 2h or 1d. Raises ConfigError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if match is None or float(match[1]) <= 0:
        raise ConfigError("This is no duration.", where="--time-budget", found=text, allowed="such as 90s, 30m or 2h")
    return float(match[1]) * _SECONDS[match[2]]


def _check(given: set[str], needed: set[str], optional: set[str] | None = None) -> None:
    missing, superfluous = needed - given, given - needed - (optional or set())
    if missing or superfluous:
        raise ConfigError(
            "These options do not go together.",
            where="command line",
            found=", ".join(sorted(given)) or "none",
            allowed="--config and --space (with --trials, --concurrent, --time-budget, --resume auto); "
            "--resume RUN alone; or --run and --promote",
            fix=f"add {', '.join(sorted(missing))}" if missing else f"leave out {', '.join(sorted(superfluous))}",
        )
