"""Architectures and tasks that do not fit are refused before anything is built; what has no effect is warned of."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest

from mtl_ray.errors import ConfigError
from mtl_ray.models.settings import ModelSettings
from mtl_ray.models.sharing import (
    AITMConfig,
    DBMTLConfig,
    ESCM2Config,
    ESMMConfig,
    HierarchicalConfig,
    HoMEConfig,
    MMoEConfig,
)
from mtl_ray.tasks import BinaryTaskConfig, MulticlassTaskConfig, RegressionTaskConfig, TaskSettings

FUNNEL: dict[str, TaskSettings] = {
    "click": BinaryTaskConfig(),
    "purchase": BinaryTaskConfig(given=("click",)),
    "value": RegressionTaskConfig(observed_when="purchase"),
}
FLAT: dict[str, TaskSettings] = {"click": BinaryTaskConfig(), "purchase": BinaryTaskConfig()}
every_serial = pytest.mark.parametrize("config", [ESMMConfig(), ESCM2Config(), AITMConfig(), DBMTLConfig()])
every_product = pytest.mark.parametrize("config", [ESMMConfig(), ESCM2Config()])


def refused(config: ModelSettings, tasks: Mapping[str, TaskSettings]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config.check_tasks(tasks)
    assert caught.value.fix is not None
    return caught.value


@every_serial
def test_a_funnel_fits(config: ModelSettings, caplog: pytest.LogCaptureFixture) -> None:
    config.check_tasks(FUNNEL)
    assert not caplog.records


@every_serial
def test_a_serial_architecture_needs_a_task_graph(config: ModelSettings) -> None:
    error = refused(config, FLAT)
    assert error.where == "model.name"
    assert "tasks.purchase.given=click" in str(error.fix)


def test_an_architecture_that_ignores_the_task_graph_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        MMoEConfig().check_tasks(FUNNEL)
    assert caplog.messages == ["model.name=mmoe does not follow the task graph: given of purchase has no effect"]
    caplog.clear()
    MMoEConfig().check_tasks(FLAT)
    assert not caplog.records


@pytest.mark.parametrize("config", [HierarchicalConfig(), HoMEConfig()])
def test_an_architecture_that_takes_defaults_from_it_does_not_warn(
    config: ModelSettings, caplog: pytest.LogCaptureFixture
) -> None:
    config.check_tasks(FUNNEL)
    config.check_tasks(FLAT)
    assert not caplog.records


@every_product
def test_products_are_of_probabilities(config: ModelSettings) -> None:
    error = refused(config, {**FUNNEL, "value": RegressionTaskConfig(given=("purchase",))})
    assert (error.where, error.found) == ("tasks.value.type", "regression")
    rating = MulticlassTaskConfig(classes=(1, 2))
    error = refused(config, {"rating": rating, "purchase": BinaryTaskConfig(given=("rating",))})
    assert (error.where, error.found) == ("tasks.rating.type", "multiclass")


@every_product
def test_a_product_needs_the_label_in_every_row(config: ModelSettings) -> None:
    error = refused(config, {**FUNNEL, "purchase": BinaryTaskConfig(given=("click",), observed_when="click")})
    assert error.where == "tasks.purchase.observed_when"
    assert "0, not NULL" in str(error.fix)


@every_product
@pytest.mark.parametrize("task", ["click", "purchase"])
def test_a_product_is_of_calibrated_rates(config: ModelSettings, task: str) -> None:
    changed = FUNNEL[task].model_copy(update={"calibrate": False, "positive_weight": 2.0})
    error = refused(config, {**FUNNEL, task: changed})
    assert error.where == f"tasks.{task}.calibrate"
    config.check_tasks({**FUNNEL, task: FUNNEL[task].model_copy(update={"calibrate": False})})


@every_product
@pytest.mark.parametrize(
    ("key", "value", "found"), [("loss", {"name": "focal"}, "focal"), ("label_smoothing", 0.1, "0.1")]
)
def test_a_product_is_of_what_is_trained_towards_the_truth(
    config: ModelSettings, key: str, value: object, found: str
) -> None:
    changed = BinaryTaskConfig.model_validate({**FUNNEL["purchase"].model_dump(), key: value})
    error = refused(config, {**FUNNEL, "purchase": changed})
    assert (error.where, str(error.found), error.fix) == (f"tasks.purchase.{key}", found, f"remove {key}")


def test_exits_of_unknown_tasks() -> None:
    error = refused(HierarchicalConfig(exits={"click": 1, "purchas": 2}), FLAT)
    assert (error.where, error.fix) == ("model.exits.purchas", "write purchase")


@pytest.mark.parametrize(
    ("exits", "found"),
    [({"click": 1}, "no exit for purchase"), ({"click": 1, "purchase": 1}, "deepest exit 1")],
)
def test_exits_that_do_not_fit_the_trunk(exits: dict[str, int], found: str) -> None:
    error = refused(HierarchicalConfig(exits=exits), FLAT)
    assert (error.where, error.found) == ("model.exits", found)
    HierarchicalConfig(exits={"click": 2, "purchase": 1}).check_tasks(FLAT)


@pytest.mark.parametrize(
    ("groups", "found"),
    [
        ((("click",),), "missing: purchase"),
        ((("click", "purchase"), ("click",)), "more than once: click"),
        ((("click", "purchas"),), "purchas"),
    ],
)
def test_groups_that_do_not_fit_the_tasks(groups: tuple[tuple[str, ...], ...], found: str) -> None:
    error = refused(HoMEConfig(groups=groups), FLAT)
    assert (error.where, error.found) == ("model.groups", found)
    HoMEConfig(groups=(("purchase",), ("click",))).check_tasks(FLAT)
