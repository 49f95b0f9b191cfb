"""Two pairs of tasks that pull the one shared unit in two directions are told apart by one training."""

from __future__ import annotations

import numpy as np
import torch

from mtl_ray.affinity.evidence import Evidence
from mtl_ray.batch import Batch
from mtl_ray.models.sharing.shared_bottom import SharedBottomConfig
from mtl_ray.optim import OptimizerConfig, build_optimizer
from mtl_ray.schema import BatchSchema, LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig
from mtl_ray.training.step import TrainStep
from mtl_ray.weighting import StaticWeightingConfig, WeightingContext
from tests.planted_conflict import rows

TASKS = ("left_1", "right_1", "left_2", "right_2")
BATCH, STEPS, EVERY = 100, 120, 3


def batch(number: int) -> Batch:
    """Both tasks of a pair have the same logits, and each label is drawn by itself."""
    features, first = rows(BATCH, 2 * number)
    more, second = rows(BATCH, 2 * number + 1)
    # The second pair's labels are of other rows: half of the batch shows one pair, half the other.
    labels = np.zeros((2 * BATCH, 4), dtype=np.float32)
    observed = np.zeros((2 * BATCH, 4), dtype=bool)
    labels[:BATCH, :2], observed[:BATCH, :2] = first, True
    labels[BATCH:, 2:], observed[BATCH:, 2:] = second, True
    return Batch(
        categorical=torch.zeros(2 * BATCH, 0, dtype=torch.int32),
        numeric=torch.from_numpy(np.concatenate([features, more])),
        labels=torch.from_numpy(labels),
        observed=torch.from_numpy(observed),
        sample_weight=torch.ones(2 * BATCH),
        row_id=torch.arange(2 * BATCH),
    )


def test_the_pairs_are_found() -> None:
    schema = BatchSchema(vocabularies={}, numeric=("x", "z"), tasks=TASKS)
    tasks = {name: BinaryTaskConfig().build(name, LabelStatistics(observed=1000, mean=0.5)) for name in TASKS}
    torch.manual_seed(0)
    model = SharedBottomConfig(bottom=(1,), tower=(), activation="silu").build(schema, tasks)
    optimizer = build_optimizer(OptimizerConfig(learning_rate=0.02), model)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    weighting = StaticWeightingConfig().build(WeightingContext(dict.fromkeys(TASKS, 1.0)))
    step = TrainStep(model, tasks, weighting, optimizer, schedule, 1.0, "fp32", torch.device("cpu"))
    measured = [step(batch(number), measure=number % EVERY == 0) for number in range(STEPS)]
    affinity = torch.stack([found for found in measured if found is not None])
    assert affinity.shape == (STEPS // EVERY, 4, 4)
    evidence = Evidence(affinity.numpy(), 0.95, seed=0)
    found = evidence.groupings(TASKS, (2,))[0]
    assert found.groups == (("left_1", "left_2"), ("right_1", "right_2"))
    assert found.verdict == "better"
    assert found.wins > 0.9
    # A task helps the other of its pair more than either of the other pair, by the whole interval.
    for i in range(4):
        friend, foes = (i + 2) % 4, ((i + 1) % 4, (i + 3) % 4)
        for foe in foes:
            low, high = evidence.matrix[i][friend].low, evidence.matrix[i][foe].high
            assert low is not None
            assert high is not None
            assert low > high
