"""What the benchmark of searches calls met."""

from __future__ import annotations

from typing import Any

import numpy as np
import yaml

from mtl_ray.config import load_config, parse_config
from mtl_ray.tuning.check import check_search
from mtl_ray.tuning.folder import SearchFolder
from mtl_ray.tuning.load import load_space
from mtl_ray.tuning.points import as_optuna
from mtl_ray.tuning.start import values_of
from tests.benchmarks.quality.data_set import ROOT
from tests.benchmarks.tuning.ecommerce import SPACE, _verdicts, defaults, wider_space
from tests.benchmarks.tuning.front import OBJECTIVE
from tests.benchmarks.tuning.front import SPACE as FRONT_SPACE
from tests.benchmarks.tuning.front import _verdicts as front_verdicts
from tests.benchmarks.tuning.searches import Searched


def search(epochs: int, wall: float, training: float) -> Searched:
    summary = {"epochs": epochs, "wall_seconds": wall, "training_seconds": training, "concurrent": 2}
    return Searched(SearchFolder(ROOT), summary)


def met(ours: Any, default: Any, stopped: Searched) -> list[bool | None]:
    whole = search(100, 110.0, 200.0)
    found = _verdicts(stopped, whole, np.array(ours), np.array(default), float(np.mean(ours)), float(np.mean(default)))
    return [verdict.met for verdict in found]


def test_verdicts() -> None:
    noise = np.random.default_rng(0).normal(size=400)
    # The same users in both: what they have in common cancels out of the difference alone.
    assert met(2.0 + noise, 1.9 + noise, search(60, 125.0, 200.0)) == [True, False, True, True]
    assert met(2.0 + noise, 1.9 - noise, search(61, 126.0, 200.0)) == [False, False, False, False]
    assert met(20.0 + noise, 1.9 + noise, search(10, 10.0, 200.0))[:2] == [True, True]


def test_a_front_needs_three_points_with_every_seed() -> None:
    def rows(*fronts: int) -> list[dict[str, Any]]:
        return [
            {"searcher": searcher, "front": front, "hypervolume": 0.1}
            for front in fronts
            for searcher in ("motpe", "random")
        ]

    assert front_verdicts(rows(3, 4, 5))[0].met
    assert not front_verdicts(rows(3, 2, 5))[0].met


def test_the_spaces_fit_their_configs_and_hold_them() -> None:
    ecommerce = load_config(ROOT / "jobs" / "configs" / "ecommerce_mmoe.yaml")
    settings = load_space(SPACE)
    check_search(ecommerce, settings)
    as_optuna(settings.space, values_of(ecommerce.model_dump(mode="json"), settings.space))
    wider = type(settings).model_validate(wider_space())
    for tree in defaults(ecommerce.model_dump(mode="json"), 6):
        config = parse_config(tree)
        check_search(config, wider)
        as_optuna(wider.space, values_of(config.model_dump(mode="json"), wider.space))
    kuairand = load_config(ROOT / "jobs" / "examples" / "kuairand" / "config.yaml")
    front = type(settings).model_validate(
        yaml.safe_load(yaml.safe_dump({"space": FRONT_SPACE, "objective": OBJECTIVE, "searcher": "motpe"}))
    )
    check_search(kuairand, front)
