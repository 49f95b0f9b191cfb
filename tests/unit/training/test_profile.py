"""A profile's parts are those of the steps that it says, and they add up."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest
import torch

from mtl_ray.models.sharing import MMoEConfig
from mtl_ray.optim import OptimizerConfig, ScheduleConfig, build_optimizer, build_schedule
from mtl_ray.report.step_profile import PROFILE_FOLDER, TRACE_FILE, StepProfile, read_profile
from mtl_ray.training.profile import BACKWARD, CLIP, EXCHANGE, FORWARD, INPUT, STEPS, WARM_UP, Profiling, span
from mtl_ray.training.step import TrainStep
from mtl_ray.weighting import StaticWeightingConfig, WeightingContext
from tests.random_batch import SCHEMA, make_tasks, random_batch

CPU = torch.device("cpu")
WAIT = 0.02


def profiled(folder: Path, embeddings: str) -> StepProfile:
    """Of steps that wait `WAIT` seconds for their rows."""
    torch.manual_seed(0)
    tasks = make_tasks()
    model = MMoEConfig(num_experts=2, expert=(8,)).build(SCHEMA, tasks)
    optimizer = build_optimizer(OptimizerConfig.model_validate({"embeddings": {"name": embeddings}}), model)
    names = dict.fromkeys(tasks, "binary")
    weighting = StaticWeightingConfig().build(WeightingContext(dict.fromkeys(tasks, 1.0), {}, names))
    schedule = build_schedule(ScheduleConfig(), optimizer, 100)
    step = TrainStep(model, tasks, weighting, optimizer, schedule, 1.0, "fp32", CPU)
    profiling = Profiling(folder, CPU, 64)
    said = []
    for number in range(1, WARM_UP + STEPS + 3):
        with span(INPUT):
            time.sleep(WAIT)
            batch = random_batch(64, seed=number)
        step(batch)
        if profiling.after_step(number):
            said.append(number)
        assert (profiling.found is None) == (number < WARM_UP + STEPS)
    assert said == [WARM_UP + STEPS]
    assert profiling.found is not None
    return profiling.found


@pytest.mark.parametrize(
    ("embeddings", "optimizers"),
    [("dense", ["optimizer AdamW"]), ("rowwise_adagrad", ["optimizer AdamW", "optimizer RowwiseAdagrad"])],
)
def test_parts_add_up(embeddings: str, optimizers: list[str], tmp_path: Path) -> None:
    found = profiled(tmp_path, embeddings)
    milliseconds = {part.name: part.milliseconds for part in found.parts}
    assert list(milliseconds)[:5] == [INPUT, FORWARD, BACKWARD, EXCHANGE, CLIP]
    assert sorted(list(milliseconds)[5:]) == optimizers
    assert min(milliseconds.values()) > 0
    assert milliseconds[INPUT] >= 1e3 * WAIT
    assert sum(milliseconds.values()) <= found.step_milliseconds
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert found.first_step == WARM_UP + 1
    assert found.steps == STEPS
    assert found.communication_milliseconds == 0.0
    assert found.operators[0].milliseconds == max(operator.milliseconds for operator in found.operators)
    assert f"{INPUT} " in found.in_words()


def test_what_is_written_is_what_was_found(tmp_path: Path) -> None:
    found = profiled(tmp_path, "dense")
    assert read_profile(tmp_path) == found
    trace = json.loads(gzip.decompress((tmp_path / PROFILE_FOLDER / TRACE_FILE).read_bytes()))
    spans = [event for event in trace["traceEvents"] if event.get("name") == f"step: {FORWARD}" and event["ph"] == "X"]
    assert len(spans) == STEPS
