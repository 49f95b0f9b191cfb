"""What a space file may say, and what is refused before anything starts, with the words to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml

from mtl_ray.config import load_config, parse_config
from mtl_ray.errors import ConfigError
from mtl_ray.tuning.check import check_search, dropped_keys
from mtl_ray.tuning.load import load_space
from mtl_ray.tuning.points import as_optuna, corners, drawn, grid
from mtl_ray.tuning.resolve import resolved
from mtl_ray.tuning.schedulers import build_scheduler
from mtl_ray.tuning.settings import SearchSettings
from mtl_ray.tuning.trial import POINT

BASE: dict[str, Any] = {
    "name": "base",
    "features": {"repo": "repo", "service": "service_v1"},
    "training_set": {"spine": "spine", "split": {"by": "time", "validation": 0.1, "test": 0.1}},
    "tasks": {
        "click": {"type": "binary"},
        "purchase": {"type": "binary", "weight": 2.0},
        "spend": {"type": "regression", "transform": "log1p"},
    },
    "model": {"name": "mmoe", "num_experts": 3, "expert": [16], "tower": [8]},
    "training": {"epochs": 4, "workers": 1},
}
RATE = {"training.optimizer.learning_rate": {"loguniform": [1e-4, 1e-2]}}
BY_MODEL = {
    "model.name": {
        "choice": ["mmoe", "ple"],
        "when": {"mmoe": {"model.num_experts": {"int": [2, 4]}}, "ple": {"model.task_experts": {"int": [1, 2]}}},
    }
}


def searched(space: dict[str, Any], **others: Any) -> SearchSettings:
    return SearchSettings.model_validate({"space": space, **others})


def refused(space: dict[str, Any], training: dict[str, Any] | None = None, **others: Any) -> str:
    base = parse_config({**BASE, "training": {**BASE["training"], **(training or {})}})
    with pytest.raises(ConfigError) as caught:
        check_search(base, searched(space, **others))
    return str(caught.value)


def file_refused(folder: Path, text: str) -> str:
    (folder / "space.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_space(folder / "space.yaml")
    return str(caught.value)


def test_the_shipped_space_goes_with_its_config() -> None:
    configs = Path(__file__).parents[3] / "jobs" / "configs"
    check_search(load_config(configs / "ecommerce_mmoe.yaml"), load_space(configs / "ecommerce_space.yaml"))


def test_an_empty_space(tmp_path: Path) -> None:
    for text in ("space: {}", "objective: validation/loss"):
        assert "The search space is empty." in file_refused(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("space: {a: {loguniforn: [1, 2]}}", ("space > a", "{loguniform: [low, high]}")),
        ("space: {a: {uniform: [2, 1]}}", ("space > a", "from a smaller to a larger number")),
        ("space: {a: {loguniform: [0, 1]}}", ("space > a > loguniform", "greater than 0")),
        ("space: {a: {int: [1, 3], lag: true}}", ("space > a > lag", "did you mean log?")),
        ("space: {a: {choice: []}}", ("space > a > choice", "at least 1 item")),
        ("space: {a: {choice: [x], when: {y: {}}}}", ("space > a", "y is none of the choices x")),
        ("space: {a: {choice: [x], when: {x: {b: {uniform: [3, 2]}}}}}", ("space > a > when > x > b",)),
        ("space: {a: {int: [1, 3]}}\nobjectiv: validation/loss", ("objectiv", "did you mean objective?")),
        ("space: {a: {int: [1, 3]}}\nscheduler: ashaa", ("scheduler", "did you mean asha?")),
        ("space: {a: {int: [1, 3]}}\nscheduler: {name: asha, grce: 2}", ("scheduler > grce", "did you mean grace?")),
        ("space: {a: {int: [1, 3]}}\nsearcher: tpee", ("searcher", "'random', 'grid', 'tpe'")),
        ("space: {a: {int: [1, 3]}}\nstart: {value: []}", ("start > value", "did you mean values?")),
    ],
)
def test_a_file_that_says_something_else(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    message = file_refused(tmp_path, text)
    assert all(word in message for word in words), message


def test_no_file_and_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="check --space"):
        load_space(tmp_path / "absent.yaml")
    assert "not valid YAML" in file_refused(tmp_path, "space: {")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("model.num_expertz", ("model.num_expertz", "did you mean model.num_experts?")),
        ("trainig.epochs", ("trainig", "did you mean training?")),
        ("tasks.purchas.weight", ("Unknown task.", "did you mean purchase?")),
        ("training_set.shuffle_seed", ("one training set",)),
        ("features.service", ("one training set",)),
        ("seed", ("a seed of its own",)),
        ("training.workers", ("all trials take the same place",)),
        ("tasks.spend.transform", ("Trials cannot", "one training set")),
    ],
)
def test_keys_that_cannot_be_searched(key: str, words: tuple[str, ...]) -> None:
    message = refused({key: {"choice": ["none"] if key.endswith("transform") else [1, 2]}})
    assert any(word in message for word in words), message
    assert key.split(".")[-1] in message


def test_a_choice_that_the_config_does_not_allow_is_told_with_the_trial_s_values() -> None:
    message = refused({**RATE, "training.precision": {"choice": ["fp32", "fp17"]}})
    assert "trial with training.optimizer.learning_rate=0.0001, training.precision=fp17" in message
    assert "'fp32', 'bf16', 'fp64' or 'auto'" in message
    assert "num_experts" in refused({"model.num_experts": {"int": [0, 4]}})


def test_a_combination_that_the_config_does_not_allow() -> None:
    both = {"model.norm": {"choice": ["none", "batch"]}, "training.accumulate": {"choice": [1, 2]}}
    message = refused(both)
    assert "trial with model.norm=batch, training.accumulate=2: training.accumulate" in message


def test_metrics_that_no_task_reports() -> None:
    assert "did you mean validation/purchase/roc_auc?" in refused(RATE, objective="validation/purchase/roc_acu")
    assert "validation/purchse/loss" in refused(RATE, objective={"validation/purchse/loss": 1})
    assert "There is no metric" in refused(RATE, objective=[])
    by = {"name": "asha", "by": "validation/spend/roc_auc"}
    assert "scheduler.by" in refused(RATE, scheduler=by)


def test_what_does_not_go_together() -> None:
    two = ["validation/click/roc_auc", "validation/spend/rmse"]
    assert "scheduler.by" in refused(RATE, objective=two, scheduler="asha")
    for pausing in ("hyperband", "bohb"):
        assert f"{pausing} pauses trials" in refused(RATE, {"workers": 2}, scheduler=pausing)
    assert "motpe is for several" in refused(RATE, searcher="motpe")
    assert "training.optimizer.learning_rate" in refused(RATE, searcher="grid")
    simplex = {"tasks.*.weight": {"simplex": ["click", "purchas"]}}
    assert "did you mean purchase?" in refused(simplex)
    assert "several tasks" in refused({"tasks.click.weight": {"simplex": ["click", "purchase"]}})
    assert "several tasks" in refused({"tasks.*.weight": {"uniform": [0, 1]}})


def test_a_population_changes_only_what_can_change_while_training() -> None:
    assert "cannot change then" in refused({"model.dropout": {"uniform": [0.0, 0.5]}}, scheduler="pbt")
    assert "training.workers" in refused(RATE, {"workers": 2}, scheduler="pbt")
    assert "random" in refused(RATE, scheduler="pbt", searcher="tpe")
    choice = {"tasks.click.weight": {"choice": [0.5, 2.0]}}
    metric = {"early_stopping": {"metric": "validation/click/loss"}}
    assert "pb2 searches ranges" in refused(choice, metric, scheduler="pb2")
    assert "validation/<task>/loss" in refused(choice, scheduler="pbt")
    by_click = {**BASE["training"], "early_stopping": {"metric": "validation/click/loss"}}
    check_search(parse_config({**BASE, "training": by_click}), searched({**RATE, **choice}, scheduler="pbt"))


@pytest.mark.parametrize("name", ["pbt", "pb2"])
def test_what_a_population_changes_stays_in_its_range(name: str) -> None:
    key = "training.optimizer.learning_rate"
    settings = searched({key: {"loguniform": [1e-4, 1e-1]}}, scheduler=name)
    scheduler = build_scheduler(settings.scheduler, settings.space, 4)
    rounded = float(np.float32(1e-1))  # as PB2 has every value
    assert rounded > 1e-1
    for value, kept in ((rounded, 1e-1), (0.2, 1e-1), (1e-5, 1e-4), (0.05, 0.05)):
        assert scheduler._custom_explore_fn({POINT: {"values": {key: value}}}) == {POINT: {"values": {key: kept}}}


def test_points_of_a_space_are_drawn_and_found_again() -> None:
    simplex = {"tasks.*.weight": {"simplex": ["click", "purchase", "spend"], "total": 6.0}}
    space = searched({**RATE, **BY_MODEL, **simplex, "model.tower": {"choice": [[8], [16, 8]]}}).space
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    names = set()
    for _ in range(40):
        trial = study.ask()
        values = drawn(space, trial)
        names |= set(values)
        assert ("model.num_experts" in values) == (values["model.name"] == "mmoe")
        assert ("model.task_experts" in values) == (values["model.name"] == "ple")
        assert 1e-4 <= values["training.optimizer.learning_rate"] <= 1e-2
        weights = [values[f"tasks.{task}.weight"] for task in ("click", "purchase", "spend")]
        assert min(weights) >= 0.0
        assert sum(weights) == pytest.approx(6.0)
        params, distributions = as_optuna(space, values)
        again = drawn(space, optuna.trial.FixedTrial(params))
        assert again.keys() == values.keys()
        for key, value in values.items():
            assert again[key] == (pytest.approx(value) if isinstance(value, float) else value)
        assert distributions.keys() == params.keys() == trial.params.keys()
        assert resolved(BASE, values, 3).seed == 3
    assert len(names) == 8


def test_weights_on_a_simplex_are_uniform() -> None:
    space = searched({"tasks.*.weight": {"simplex": ["click", "purchase", "spend"], "total": 1.0}}).space
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    drawn_weights = np.array([list(drawn(space, study.ask()).values()) for _ in range(2000)])
    # Of a uniform point on the 2-simplex: mean 1/3, and P(weight > x) = (1 - x)^2.
    assert drawn_weights.mean(axis=0) == pytest.approx(1 / 3, abs=0.02)
    assert (drawn_weights > 0.5).mean(axis=0) == pytest.approx(0.25, abs=0.03)


def test_values_outside_of_the_space_are_named() -> None:
    space = searched({**RATE, **BY_MODEL}).space
    for values in ({"training.optimizer.learning_rate": 1.0}, {"model.name": "cgc"}):
        with pytest.raises(ValueError, match=next(iter(values))):
            as_optuna(space, values)


def test_a_grid_has_every_point_once_and_conditional_ones_where_they_count() -> None:
    points = grid(searched({**BY_MODEL, "model.tower": {"choice": [[8], [16, 8]]}}).space)
    assert len(points) == (3 + 2) * 2
    assert len({yaml.safe_dump(point) for point in points}) == len(points)


def test_corners_have_every_choice_even_where_there_are_many() -> None:
    space = {f"model.key_{at}": {"choice": [0, 1, 2]} for at in range(8)}
    points = list(corners(searched(space).space))
    assert len(points) == 1 + 8 * 2
    for key in space:
        assert {point[key] for point in points} == {0, 1, 2}


def test_a_variant_leaves_the_keys_of_another_and_says_so() -> None:
    base = parse_config(BASE)
    space = searched(BY_MODEL).space
    assert "model.num_experts" in dropped_keys(base, space)
    config = resolved(base.model_dump(mode="json"), {"model.task_experts": 2, "model.name": "ple"}, 0)
    assert config.model.model_dump()["task_experts"] == 2


def test_objectives() -> None:
    base = parse_config(BASE)
    metrics = {"validation/click/loss": 0.5, "validation/purchase/loss": 0.1, "validation/spend/loss": 1.0}
    total = check_search(base, searched(RATE))
    # The config's task weights, whatever those of a trial.
    assert total.values(metrics) == (pytest.approx(0.5 + 2 * 0.1 + 1.0),)
    assert total.scores((1.7,)) == (-1.7,)
    metrics |= {"validation/click/roc_auc": 0.7, "validation/spend/rmse": 3.0}
    mixed = check_search(base, searched(RATE, objective={"validation/click/roc_auc": 2, "validation/spend/rmse": 0.1}))
    assert mixed.values(metrics) == (pytest.approx(2 * 0.7 - 0.1 * 3.0),)
    two = check_search(base, searched(RATE, objective=["validation/click/roc_auc", "validation/spend/rmse"]))
    assert two.values(metrics) == (0.7, 3.0)
    assert two.scores((0.7, 3.0)) == (0.7, -3.0)
    assert np.isnan(two.values({"validation/click/roc_auc": 0.7})[1])
