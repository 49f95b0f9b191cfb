"""Measuring changes nothing in a training, and a training that was stopped has measured each step once."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mtl_ray.batch import Batch
from mtl_ray.models.auxiliary import AuxiliaryLoss
from mtl_ray.optim.mixed import parts_of
from mtl_ray.tasks.losses import TaskLosses, task_losses
from mtl_ray.training.affinity import AffinityMeter, AffinityRecord
from mtl_ray.training.step import TrainStep
from tests.unit.training.test_resume_balanced import STEPS, TASKS, Run, configured

DROPOUT = {"name": "mmoe", "num_experts": 2, "expert": [6], "tower": [4], "dropout": 0.3}
METHODS: dict[str, dict[str, Any]] = {
    "plain": {},
    "batch norm": {"model": {**DROPOUT, "norm": "batch"}},
    "cross-stitch": {"model": {"name": "cross_stitch", "bottom": [6], "tower": [4], "dropout": 0.3}},
    "in parts": {"training": {"accumulate": 2}},
    "uncertainty": {"weighting": {"name": "uncertainty"}},
    "random": {"weighting": {"name": "random"}},
    "famo": {"weighting": {"name": "famo", "compare_on": "same_batch"}},
    "gradnorm": {"weighting": {"name": "gradnorm"}},
    "pcgrad": {"aggregation": {"name": "pcgrad"}},
    "sparse tables": {"training": {"optimizer": {"embeddings": {"name": "rowwise_adagrad"}}}},
    "pcgrad, shared": {"aggregation": {"name": "pcgrad", "on": "shared"}},
}


class MeasuredRun(Run):
    """A training that measures what its config says, in parts where it says so."""

    def __init__(self, method: dict[str, Any], checkpoint: Path | None = None) -> None:
        super().__init__(method, checkpoint)
        config = configured(method)
        self.step = TrainStep(
            self.state.model,
            self.step.tasks,
            self.state.weighting,
            self.state.optimizer,
            self.state.schedule,
            config.training.clip_norm,
            "fp32",
            torch.device("cpu"),
            self.state.aggregation,
            config.aggregation.on,
            accumulate=config.training.accumulate,
        )

    def go_on(self, until: int) -> None:
        for number in range(self.state.position.step, until):
            torch.manual_seed(number)
            affinity_TT = self.step(self.batch(number), self.state.affinity.due(number))
            if affinity_TT is not None:
                self.state.affinity.add(number, affinity_TT)
            self.state.advance(batch=number)


def method_of(name: str, every: int | None) -> dict[str, Any]:
    changes = {"model": DROPOUT, **METHODS[name]}
    return {**changes, "training": {**changes.get("training", {}), "affinity_every": every}}


def state_of(run: MeasuredRun) -> dict[str, Tensor]:
    moments = {
        f"optimizer.{at}.{number}.{name}": value
        for at, part in enumerate(parts_of(run.state.optimizer))
        for number, state in part.state_dict()["state"].items()
        for name, value in state.items()
    }
    return {**run.parameters(), **moments, "random": torch.get_rng_state()}


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name].nan_to_num(), value.nan_to_num()), name


@pytest.mark.parametrize("name", METHODS)
def test_a_measured_training_ends_where_an_unmeasured_one_does(name: str) -> None:
    plain, measured = MeasuredRun(method_of(name, None)), MeasuredRun(method_of(name, 2))
    plain.go_on(STEPS)
    expected = state_of(plain)
    measured.go_on(STEPS)
    same(state_of(measured), expected)
    record = measured.state.affinity.state_dict()
    assert record["steps"].tolist() == [0, 2, 4, 6]
    assert record["affinity"].shape == (4, len(TASKS), len(TASKS))
    assert float(record["affinity"].abs().amax(dim=(1, 2)).min()) > 1e-7
    assert not len(plain.state.affinity.state_dict()["steps"])
    assert torch.equal(measured.step.totals.gather_on_first(), plain.step.totals.gather_on_first())


@pytest.mark.parametrize("name", ["plain", "batch norm", "pcgrad, shared", "famo"])
def test_a_stopped_training_measures_each_step_once(name: str, tmp_path: Path) -> None:
    whole = MeasuredRun(method_of(name, 2))
    whole.go_on(STEPS)
    first = MeasuredRun(method_of(name, 2))
    first.go_on(3)
    first.state.save(tmp_path)
    first.go_on(5)  # steps that are lost with the worker, and taken again
    second = MeasuredRun(method_of(name, 2), tmp_path)
    second.go_on(STEPS)
    same(second.state.affinity.state_dict(), whole.state.affinity.state_dict())


@pytest.mark.parametrize("parts", [1, 2])
def test_the_same_dropout_before_and_after(parts: int) -> None:
    """Where the step does not move anything, the same rows with other units left out would still change the losses."""
    run = MeasuredRun(
        {"model": DROPOUT, "training": {"accumulate": parts, "affinity_every": 1, "schedule": {"decay": "constant"}}}
    )
    for group in run.state.optimizer.param_groups:
        group["lr"] = 0.0
    found = run.step(run.batch(0), measure=True)
    assert found is not None
    torch.testing.assert_close(found, torch.zeros(3, 3, dtype=torch.float64), rtol=0, atol=1e-6)


def test_random_numbers_go_on_where_they_stood() -> None:
    """Also those that something has drawn between the forward pass and the measurement."""
    run = MeasuredRun(method_of("plain", 1))
    model, batch = run.state.model, run.batch(0)

    def losses_of(part: Batch, last: bool, graph: bool) -> tuple[TaskLosses, tuple[AuxiliaryLoss, ...]]:  # noqa: ARG001
        with nullcontext() if graph else torch.no_grad():
            return task_losses(model(part), part, run.step.tasks), ()

    meter = AffinityMeter(model, run.state.optimizer, losses_of, [batch])
    torch.stack(losses_of(batch, True, True)[0].each).sum().backward()
    torch.rand(5)
    before = torch.get_rng_state()
    meter.measure(torch.ones(3), 1.0)
    assert meter.affinity is not None
    assert torch.equal(torch.get_rng_state(), before)


def test_only_what_is_shared_moves() -> None:
    """A task's own parameters do not, or its own loss would fall by more."""
    run = MeasuredRun({"model": {**DROPOUT, "dropout": 0.0}, "training": {"clip_norm": None, "affinity_every": 1}})
    model = run.state.model
    for parameter in model.shared_parameters():
        parameter.requires_grad_(False)
    found = run.step(run.batch(0), measure=True)
    assert found is not None
    assert torch.equal(found, torch.zeros(3, 3, dtype=torch.float64))


def test_a_task_without_a_label_has_no_affinity() -> None:
    run = MeasuredRun(method_of("plain", 1))
    found = run.step(run.batch(3), measure=True)
    assert found is not None
    unknown = torch.zeros(3, 3, dtype=torch.bool)
    unknown[1, :] = unknown[:, 1] = True
    assert torch.equal(found.isnan(), unknown)


def test_no_step_is_due_where_none_is_to_be_measured() -> None:
    assert not any(AffinityRecord(3, None).due(step) for step in range(5))
    assert [step for step in range(8) if AffinityRecord(3, 3).due(step)] == [0, 3, 6]
