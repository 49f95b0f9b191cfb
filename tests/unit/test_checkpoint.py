"""Checkpoints: what is written reads back; whatever is damaged is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from mtl_ray.checkpoint import ModelContext, add_fusion, checkpoint_state, load_checkpoint
from mtl_ray.config import parse_config
from mtl_ray.data.packing import packed
from mtl_ray.data.preprocessing import PreprocessingConfig, fit
from mtl_ray.data.service_spec import FeatureSpec
from mtl_ray.data.tensors import to_batch
from mtl_ray.errors import CheckpointError
from mtl_ray.evaluation.predict import predictor_of
from mtl_ray.fusion import Fusion
from mtl_ray.optim import AveragingConfig
from mtl_ray.predictor import Predictor
from mtl_ray.schema import LabelStatistics
from mtl_ray.training.state import TrainingState
from mtl_ray.weighting import StepLosses

TABLE = pa.table({"country": ["de", "fr", None, "de"], "age": [31.0, None, 52.0, 18.0]})


@pytest.fixture
def state() -> TrainingState:
    config = parse_config(
        {
            "name": "small",
            "features": {"repo": "feature_repo", "service": "s"},
            "training_set": {"spine": "spine", "split": {"by": "time", "validation": 0.1, "test": 0.1}},
            "tasks": {"click": {"type": "binary"}},
            "model": {"name": "mmoe", "num_experts": 2, "expert": [4], "tower": [3], "norm": "batch"},
            "weighting": {"name": "uncertainty"},
        }
    )
    features = [
        FeatureSpec(
            name="country",
            source="view",
            view="users",
            dtype="String",
            encoding="categorical",
            vocabulary="country",
        ),
        FeatureSpec(name="age", source="view", view="users", dtype="Float64", encoding="numeric", vocabulary=None),
    ]
    preprocessing = fit(PreprocessingConfig(), features, TABLE)
    context = ModelContext(
        training_set="abc",
        batch_schema=preprocessing.batch_schema(["click"]),
        preprocessing=preprocessing,
        label_statistics={"click": LabelStatistics(observed=4, mean=0.25)},
    )
    torch.manual_seed(0)
    tasks = {"click": config.tasks["click"].build("click", context.label_statistics["click"])}
    model = config.model.build(context.batch_schema, tasks)
    return TrainingState.create(config, context, model, total_steps=10)


@pytest.fixture
def saved(state: TrainingState, tmp_path: Path) -> Path:
    learnt = [*state.model.parameters(), *state.weighting.parameters()]
    loss = sum((parameter - 1).square().sum() for parameter in learnt)
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    for name, buffer in state.model.named_buffers():
        if "running" in name:
            buffer.mul_(1.1).add_(0.001)
    state.epoch_totals += 3.0
    state.optimizer.step()
    state.schedule.step()
    state.advance(batch=1)
    state.save(tmp_path)
    return tmp_path


def test_round_trip(state: TrainingState, saved: Path) -> None:
    checkpoint = load_checkpoint(saved)
    assert checkpoint.config == state.config
    assert checkpoint.context == state.context
    assert checkpoint.position == state.position
    for name, tensor in state.model.state_dict().items():
        assert torch.equal(checkpoint.weights[name], tensor)


def test_averaged_weights_are_saved_to_predict_with(state: TrainingState, tmp_path: Path) -> None:
    averaging = state.config.training.model_copy(update={"averaging": AveragingConfig(decay=0.5)})
    config = state.config.model_copy(update={"training": averaging})
    averaged = TrainingState.create(config, state.context, state.model, total_steps=10)
    for number in range(3):
        with torch.no_grad():
            for parameter in averaged.model.parameters():
                parameter += 1.0
        averaged.advance(batch=number)
    averaged.save(tmp_path)
    weights = load_checkpoint(tmp_path).weights
    (name, last), *_ = averaged.model.named_parameters()
    first = last - 2
    second = first * 2 / 11 + (first + 1) * 9 / 11
    torch.testing.assert_close(weights[name], (second * 3 / 12 + last * 9 / 12).detach())
    assert not torch.equal(weights[name], last)


def test_a_ranking_score_is_added_and_guarded(saved: Path) -> None:
    assert load_checkpoint(saved).fusion is None
    first = Fusion(formula="sum", weights={"click": 2.0}, declared={"click": 1.0})
    second = first.model_copy(update={"weights": {"click": 3.0}})
    for fusion in (first, second):
        add_fusion(saved, fusion)
        assert load_checkpoint(saved).fusion == fusion
    file = saved / "fusion.json"
    file.write_text(file.read_text().replace("3.0", "4.0"))
    with pytest.raises(CheckpointError, match=r"fusion\.json"):
        load_checkpoint(saved)


def test_a_process_that_has_predicted_before_sees_a_score_that_was_added_since(saved: Path) -> None:
    """Ray keeps its processes from one job to the next."""
    before = predictor_of(str(saved), "cpu", checkpoint_state(saved))
    assert before is predictor_of(str(saved), "cpu", checkpoint_state(saved))
    assert before.checkpoint.fusion is None
    fusion = Fusion(formula="sum", weights={"click": 2.0}, declared={"click": 1.0})
    add_fusion(saved, fusion)
    assert predictor_of(str(saved), "cpu", checkpoint_state(saved)).checkpoint.fusion == fusion


def test_training_goes_on_as_if_it_had_not_stopped(state: TrainingState, saved: Path) -> None:
    torch.manual_seed(1)
    tasks = {"click": state.config.tasks["click"].build("click", state.context.label_statistics["click"])}
    model = state.config.model.build(state.context.batch_schema, tasks)
    restored = TrainingState.create(state.config, state.context, model, total_steps=10)
    restored.restore(load_checkpoint(saved))
    assert restored.learning_rate == state.learning_rate
    assert torch.equal(restored.epoch_totals, state.epoch_totals)
    for each in (state, restored):
        each.optimizer.zero_grad()
        learnt = [*each.model.parameters(), *each.weighting.parameters()]
        loss: Any = sum(parameter.cos().sum() for parameter in learnt)
        loss.backward()
        each.optimizer.step()
    for name, tensor in state.model.state_dict().items():
        assert torch.equal(restored.model.state_dict()[name], tensor), name
    losses = StepLosses(torch.ones(1, dtype=torch.float64), torch.ones(1, dtype=torch.bool))
    assert torch.equal(restored.weighting(losses), state.weighting(losses))
    assert (state.weighting(losses) != 0.5).all()


def test_the_predictor_gives_the_models_own_probabilities(state: TrainingState, saved: Path) -> None:
    predictor = Predictor.load(saved)
    encoded = state.context.preprocessing.encode(TABLE)
    rows = TABLE.num_rows
    extra = {
        "labels": packed(np.zeros((rows, 1), dtype=np.float32)),
        "observed": packed(np.zeros((rows, 1), dtype=np.uint8)),
        "sample_weight": pa.array(np.ones(rows, dtype=np.float32)),
        "row_id": pa.array(np.arange(rows)),
    }
    columns = {name: encoded[name] for name in encoded.column_names}
    batch = to_batch(pa.table({**columns, **extra}), state.context.batch_schema)
    state.model.eval()
    expected = state.model(batch)["click"].squeeze(1).sigmoid().detach().numpy()
    np.testing.assert_allclose(predictor.predict_arrays(batch)["click"], expected, rtol=0, atol=1e-7)
    assert len(set(expected.tolist())) > 1


def test_another_training_set_is_refused(state: TrainingState, saved: Path) -> None:
    state.context = state.context.model_copy(update={"training_set": "other"})
    with pytest.raises(CheckpointError, match="another training set") as caught:
        state.restore(load_checkpoint(saved))
    assert "abc" in str(caught.value)
    assert "other" in str(caught.value)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "features.json", "training.pt", "position.json"])
def test_a_damaged_file_is_named(saved: Path, file: str) -> None:
    content = bytearray((saved / file).read_bytes())
    content[len(content) // 2] ^= 1
    (saved / file).write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="damaged") as caught:
        load_checkpoint(saved)
    assert file in str(caught.value)


def test_a_missing_file_is_named(saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="missing") as caught:
        load_checkpoint(saved)
    assert "model.safetensors" in str(caught.value)


def test_half_a_checkpoint_is_none(saved: Path, tmp_path: Path) -> None:
    (saved / "checksums.json").unlink()
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        load_checkpoint(saved)
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        load_checkpoint(tmp_path / "absent")


def test_a_damaged_list_of_checksums(saved: Path) -> None:
    (saved / "checksums.json").write_text("{")
    with pytest.raises(CheckpointError, match="checksums is damaged"):
        load_checkpoint(saved)
