"""What every architecture of the union keeps to; a new member is tested without being listed here."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor

from mtl_ray.models import ModelConfig, MultiTaskModel
from mtl_ray.models.settings import ModelSettings
from mtl_ray.optim import OptimizerConfig, build_optimizer
from mtl_ray.training.loss import normalise, task_losses
from tests.random_batch import SCHEMA, make_tasks, part_of, random_batch

MEMBERS: tuple[type[ModelSettings], ...] = get_args(get_args(ModelConfig)[0])
VARIANTS = [member.model_validate({**kind}) for member in MEMBERS for kind in ({}, {"layer_norm": True, "tower": ()})]

every_model = pytest.mark.parametrize(
    "config", VARIANTS, ids=lambda config: f"{config.name}{'-norm' if config.layer_norm else ''}"
)


def build(config: ModelSettings, seed: int = 0) -> MultiTaskModel:
    torch.manual_seed(seed)
    return config.build(SCHEMA, make_tasks())


def losses_of(model: MultiTaskModel, rows: int = 64, observed: bool = True) -> Tensor:
    batch = random_batch(rows)
    if not observed:
        batch = replace(batch, observed=torch.zeros_like(batch.observed), labels=torch.zeros_like(batch.labels))
    sums, weights = task_losses(model(batch), batch, make_tasks())
    return normalise(sums, weights, world_size=1)


def test_the_union_has_the_architectures() -> None:
    assert {"shared_bottom", "mmoe"} <= {member().name for member in MEMBERS}  # type: ignore[attr-defined]


@every_model
def test_logits_have_one_column_an_output_of_the_task(config: ModelSettings) -> None:
    logits = build(config)(random_batch(9))
    assert list(logits) == list(SCHEMA.tasks)
    assert {name: tuple(logit.shape) for name, logit in logits.items()} == {
        "click": (9, 1),
        "rating": (9, 3),
        "value": (9, 1),
    }


@every_model
def test_representation_has_a_vector_a_row(config: ModelSettings) -> None:
    representation = build(config).representation(random_batch(9))
    assert representation.shape[0] == 9
    assert representation.ndim == 2


@every_model
def test_a_row_is_scored_alone(config: ModelSettings) -> None:
    model = build(config).double().eval()
    batch = random_batch(9, dtype=torch.float64)
    whole, part = model(batch), model(part_of(batch, slice(2, 5)))
    for name in SCHEMA.tasks:
        torch.testing.assert_close(whole[name][2:5], part[name], rtol=0, atol=1e-12)


@every_model
def test_every_parameter_learns(config: ModelSettings) -> None:
    model = build(config)
    losses_of(model).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@every_model
def test_without_any_label_losses_and_gradients_are_zero(config: ModelSettings) -> None:
    model = build(config)
    losses = losses_of(model, observed=False)
    losses.sum().backward()
    assert losses.tolist() == [0.0, 0.0, 0.0]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.count_nonzero(parameter.grad) == 0, name


@every_model
def test_state_dict_round_trip(config: ModelSettings) -> None:
    model, other = build(config, seed=0), build(config, seed=1)
    batch = random_batch(9)
    before = other(batch)
    other.load_state_dict(model.state_dict())
    expected, found = model(batch), other(batch)
    for name in SCHEMA.tasks:
        assert torch.equal(expected[name], found[name])
        assert not torch.equal(expected[name], before[name])


@every_model
def test_the_same_seed_gives_the_same_weights(config: ModelSettings) -> None:
    first, second, third = build(config, 5).state_dict(), build(config, 5).state_dict(), build(config, 6).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)


@every_model
def test_shared_and_task_parameters_are_a_partition(config: ModelSettings) -> None:
    model = build(config)
    parts = [model.shared_parameters(), *(model.task_parameters(task) for task in SCHEMA.tasks)]
    found = [id(parameter) for part in parts for parameter in part]
    assert len(found) == len(set(found))
    assert set(found) == {id(parameter) for parameter in model.parameters()}


@every_model
@pytest.mark.parametrize("task", SCHEMA.tasks)
def test_a_task_reaches_shared_and_own_parameters_alone(config: ModelSettings, task: str) -> None:
    model = build(config)
    model(random_batch(64))[task].square().sum().backward()
    reached = {id(p) for p in model.parameters() if p.grad is not None and torch.count_nonzero(p.grad) > 0}
    assert reached == {id(p) for p in [*model.shared_parameters(), *model.task_parameters(task)]}


@every_model
def test_embedding_parameters_are_shared_tables(config: ModelSettings) -> None:
    model = build(config)
    tables = model.embedding_parameters()
    assert sum(table.shape[0] for table in tables) == sum(SCHEMA.vocabularies.values())
    assert {id(table) for table in tables} <= {id(parameter) for parameter in model.shared_parameters()}


@every_model
def test_weight_decay_spares_biases_and_norms(config: ModelSettings) -> None:
    model = build(config)
    decayed = {
        id(parameter)
        for group in build_optimizer(OptimizerConfig(weight_decay=0.1), model).param_groups
        if group["weight_decay"] > 0
        for parameter in group["params"]
    }
    names = {name for name, parameter in model.named_parameters() if id(parameter) in decayed}
    spared = {name for name, _ in model.named_parameters()} - names
    assert names
    assert all("bias" in name or "norm" in name or "embedding" in name for name in spared)
    assert not any("bias" in name or "norm" in name or "embedding" in name for name in names)


@every_model
def test_dropout_is_for_training_alone(config: ModelSettings) -> None:
    model = build(config.model_copy(update={"dropout": 0.5}))
    batch = random_batch(9)
    assert not torch.equal(model(batch)["click"], model(batch)["click"])
    model.eval()
    assert torch.equal(model(batch)["click"], model(batch)["click"])


@every_model
def test_float64(config: ModelSettings) -> None:
    model = build(config).double()
    assert {logit.dtype for logit in model(random_batch(9, dtype=torch.float64)).values()} == {torch.float64}


@every_model
def test_the_untrained_model_predicts_about_the_base_rates(config: ModelSettings) -> None:
    tasks = make_tasks()
    model = build(config)
    logits = model(random_batch(256))
    predicted = {name: tasks[name].predict(logits[name]).mean(dim=0) for name in SCHEMA.tasks}
    torch.testing.assert_close(predicted["click"], torch.tensor(0.2), rtol=0.1, atol=0)
    torch.testing.assert_close(predicted["rating"], torch.tensor([1.0, 2.0, 3.0]) / 6, rtol=0.1, atol=0)
    torch.testing.assert_close(predicted["value"].log1p(), torch.tensor(2.5), rtol=0.1, atol=0)


@every_model
def test_tasks_of_another_schema_are_refused(config: ModelSettings) -> None:
    tasks = make_tasks()
    del tasks["rating"]
    with pytest.raises(ValueError, match=r"\['click', 'value'\] are not those of the schema: .*'rating'"):
        config.build(SCHEMA, tasks)


@every_model
def test_the_config_survives_json(config: ModelSettings) -> None:
    assert type(config).model_validate_json(config.model_dump_json()) == config


@every_model
@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dropout", 1.0, "less than 1"),
        ("tower", [0], "greater than 0"),
        ("activation", "tanh", "'relu', 'gelu' or 'silu'"),
        ("encoder", {"embedding_dim": 0}, "greater than or equal to 1"),
        ("num_heads", 2, "Extra inputs are not permitted"),
    ],
)
def test_values_out_of_range_are_refused(config: ModelSettings, key: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        type(config).model_validate({key: value})
