"""What every encoder and interaction of the unions keeps to; a new member is tested without being listed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from mtl_ray.models.encoders import FeatureEncoderConfig
from mtl_ray.models.encoders.sequences import HistorySize
from mtl_ray.models.settings import ModelSettings
from mtl_ray.models.sharing import PEPNetConfig, SharedBottomConfig, STEMConfig
from mtl_ray.optim import OptimizerConfig, build_optimizer
from tests.random_batch import RICH_SCHEMA, make_tasks, part_of, rich_batch
from tests.unit.models.encoder_cases import (
    DIM,
    INTERACTIONS,
    NUMERIC,
    POOLING,
    SEQUENCES,
    build,
    build_sequence,
    config_of,
    every_encoder,
    every_sequence,
    gradients,
    random_history,
    with_and_without_ages,
)


def test_the_unions_have_the_encoders() -> None:
    assert NUMERIC.keys() >= {"plain", "bucketised", "piecewise_linear", "plr"}
    assert POOLING.keys() >= {"mean", "attention"}
    assert SEQUENCES.keys() >= {"mean", "attention", "din", "gru", "lstm", "transformer", "hstu"}
    assert INTERACTIONS.keys() >= {"none", "fm", "dcn_v2", "dlrm_dot", "final_mlp"}


@every_encoder
def test_a_row_is_one_vector(name: str) -> None:
    encoder = build(name)
    encoded = encoder(rich_batch(9))
    assert encoded.shape == (9, encoder.out_size)
    assert encoder.layout.size == len(encoder.layout.names) * DIM + encoder.layout.others
    assert torch.isfinite(encoded).all()


@every_encoder
def test_every_parameter_learns(name: str) -> None:
    encoder = build(name).double()
    found = gradients(encoder, encoder(rich_batch(128, dtype=torch.float64)))
    assert found.keys() == dict(encoder.named_parameters()).keys()
    for parameter, grad in found.items():
        assert torch.isfinite(grad).all(), parameter
        assert grad.abs().max() > 1e-12, parameter


@every_encoder
def test_a_row_is_encoded_alone(name: str) -> None:
    encoder = build(name).double().eval()
    batch = rich_batch(9, dtype=torch.float64)
    torch.testing.assert_close(encoder(batch)[2:5], encoder(part_of(batch, slice(2, 5))), rtol=0, atol=1e-12)


@every_encoder
def test_rows_without_any_entry_have_finite_gradients(name: str) -> None:
    encoder = build(name)
    batch = rich_batch(9)
    batch = replace(
        batch,
        lists={key: torch.zeros_like(ids) for key, ids in batch.lists.items()},
        ages={key: torch.zeros_like(ages) for key, ages in batch.ages.items()},
    )
    encoded = encoder(batch)
    assert torch.isfinite(encoded).all()
    assert all(torch.isfinite(grad).all() for grad in gradients(encoder, encoded).values())


@every_encoder
def test_ages_of_padding_are_not_read(name: str) -> None:
    encoder = build(name).double().eval()
    batch = rich_batch(64, dtype=torch.float64)
    padding = (batch.lists["watched"] == 0) & (batch.lists["actions"] == 0)
    assert padding.any()
    other = replace(batch, ages={"watched_at": torch.where(padding, 1e6, batch.ages["watched_at"])})
    assert torch.equal(encoder(batch), encoder(other))


@every_encoder
def test_float64_and_determinism(name: str) -> None:
    encoder = build(name).double()
    batch = rich_batch(9, dtype=torch.float64)
    first, second = encoder(batch), encoder(batch)
    assert first.dtype == torch.float64
    assert torch.equal(first, second)
    again = gradients(encoder, second)
    assert all(torch.equal(grad, again[key]) for key, grad in gradients(encoder, first).items())


@every_encoder
def test_float32_is_near_float64(name: str) -> None:
    encoder = build(name).eval()
    expected = build(name).double().eval()(rich_batch(64, dtype=torch.float64))
    torch.testing.assert_close(encoder(rich_batch(64)).double(), expected, rtol=1e-3, atol=1e-4)


@every_encoder
def test_bf16_autocast_is_near_float32(name: str) -> None:
    encoder = build(name)
    batch = rich_batch(64)
    exact = encoder(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoded = encoder(batch)
    torch.testing.assert_close(encoded.float(), exact, rtol=0.05, atol=0.05)
    assert all(torch.isfinite(grad).all() for grad in gradients(encoder, encoded.float()).values())


@every_encoder
def test_state_dict_round_trip(name: str) -> None:
    encoder, other = build(name, seed=0).eval(), build(name, seed=1).eval()
    batch = rich_batch(9)
    before = other(batch)
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other(batch), encoder(batch))
    assert not torch.equal(other(batch), before)


@every_encoder
def test_the_config_survives_json(name: str) -> None:
    config = config_of(name)
    assert FeatureEncoderConfig.model_validate_json(config.model_dump_json()) == config


@every_encoder
@pytest.mark.parametrize("sharing", [SharedBottomConfig, STEMConfig, PEPNetConfig], ids=lambda leaf: leaf.__name__)
def test_any_sharing_structure_reads_it(name: str, sharing: type[ModelSettings]) -> None:
    values: dict[str, Any] = {"encoder": config_of(name), "tower": ()}
    if sharing is PEPNetConfig:
        values |= {"domain": ("tab",), "prior": ("user_id", "item_id", "watched", "actions", "text", "price", "age")}
    torch.manual_seed(0)
    model = sharing(**values).build(RICH_SCHEMA, make_tasks()).double()
    logits = model(rich_batch(128, dtype=torch.float64))
    found = gradients(model, torch.cat([logits[task] for task in RICH_SCHEMA.tasks], dim=1))
    for parameter, _ in model.named_parameters():
        assert torch.isfinite(found[parameter]).all(), parameter
        assert torch.count_nonzero(found[parameter]) > 0, parameter
    tables = model.embedding_parameters()
    assert len(tables) == len(model.encoders)
    decayed = {
        id(parameter)
        for group in build_optimizer(OptimizerConfig(weight_decay=0.1), model).param_groups
        if group["weight_decay"] > 0
        for parameter in group["params"]
    }
    spared = {key for key, parameter in model.named_parameters() if id(parameter) not in decayed}
    assert not any("bias" in key and key not in spared for key, _ in model.named_parameters())


@every_sequence
@with_and_without_ages
def test_a_history_is_as_wide_as_an_entry_and_zeros_if_empty(leaf: Mapping[str, Any], ages: bool) -> None:
    encoder = build_sequence(leaf, HistorySize(6, 5, ages, 0.01))
    encoded = encoder(random_history(9, 5, 6, ages))
    assert encoded.shape == (9, 6)
    assert torch.count_nonzero(encoded[0]) == 0
    assert (encoded[1:].abs().sum(dim=1) > 0).tolist() == random_history(9, 5, 6, ages).present[1:].any(dim=1).tolist()


@every_sequence
@with_and_without_ages
def test_more_padding_in_front_changes_nothing(leaf: Mapping[str, Any], ages: bool) -> None:
    encoder = build_sequence(leaf, HistorySize(6, 8, ages, 0.01))
    history, padding = random_history(20, 5, 6, ages), random_history(20, 3, 6, ages, seed=1)
    longer = history._replace(
        entries=torch.cat([padding.entries, history.entries], dim=1),
        present=torch.cat([torch.zeros_like(padding.present), history.present], dim=1),
        ages=torch.cat([padding.ages, history.ages], dim=1) if ages else None,
    )
    torch.testing.assert_close(encoder(longer), encoder(history), rtol=0, atol=1e-12)


@every_sequence
@with_and_without_ages
def test_what_is_absent_is_not_read(leaf: Mapping[str, Any], ages: bool) -> None:
    encoder = build_sequence(leaf, HistorySize(6, 5, ages, 0.01))
    history, other = random_history(20, 5, 6, ages), random_history(20, 5, 6, ages, seed=1)
    changed = history._replace(
        entries=torch.where(history.present.unsqueeze(-1), history.entries, other.entries),
        ages=torch.where(history.present, history.ages, other.ages) if ages else None,
    )
    assert not torch.equal(changed.entries, history.entries)
    torch.testing.assert_close(encoder(changed), encoder(history), rtol=0, atol=1e-12)
    entries = history.entries.clone().requires_grad_()
    encoder(history._replace(entries=entries)).square().sum().backward()
    assert entries.grad is not None
    assert torch.count_nonzero(entries.grad[~history.present]) == 0
    assert torch.isfinite(entries.grad).all()


@every_sequence
def test_ages_are_read(leaf: Mapping[str, Any]) -> None:
    encoder = build_sequence(leaf, HistorySize(6, 5, True, 0.01))
    history = random_history(20, 5, 6, True)
    assert history.ages is not None
    same = torch.equal(encoder(history._replace(ages=history.ages * 100)), encoder(history))
    assert same == (leaf["name"] == "mean")
