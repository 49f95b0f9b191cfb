"""A training that goes on from a checkpoint in the middle ends with the parameters of one that was never stopped, bit
for bit, whatever balances its tasks, whatever its embedding tables learn by, and with averaged weights too."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest
import torch
from torch import Tensor

from mtl_ray.aggregation import AggregationConfig
from mtl_ray.batch import Batch
from mtl_ray.checkpoint import ModelContext, load_checkpoint
from mtl_ray.config import Config, parse_config
from mtl_ray.data.preprocessing import PreprocessingConfig, fit
from mtl_ray.data.service_spec import FeatureSpec
from mtl_ray.optim import EmbeddingOptimizerConfig
from mtl_ray.schema import LabelStatistics
from mtl_ray.training.state import TrainingState
from mtl_ray.training.step import TrainStep
from mtl_ray.weighting import WeightingConfig

TABLE = pa.table({"country": ["de", "fr", None, "de"], "age": [31.0, None, 52.0, 18.0]})
FEATURES = [
    FeatureSpec(
        name="country", source="view", view="users", dtype="String", encoding="categorical", vocabulary="country"
    ),
    FeatureSpec(name="age", source="view", view="users", dtype="Float64", encoding="numeric", vocabulary=None),
]
TASKS = ("click", "cart", "purchase")
ROWS, STEPS = 64, 8
WEIGHTINGS = [member.model_fields["name"].default for member in get_args(get_args(WeightingConfig)[0])]
AGGREGATIONS = [member.model_fields["name"].default for member in get_args(get_args(AggregationConfig)[0])]
TABLES = [member.model_fields["name"].default for member in get_args(get_args(EmbeddingOptimizerConfig)[0])]
METHODS = [
    *({"weighting": {"name": name}} for name in WEIGHTINGS),
    *({"aggregation": {"name": name}} for name in AGGREGATIONS if name != "sum"),
    {"weighting": {"name": "gradnorm", "every": 3}},
    {"weighting": {"name": "gradnorm", "every": 3}, "aggregation": {"name": "nash_mtl", "on": "shared"}},
    {"weighting": {"name": "famo", "compare_on": "same_batch"}, "aggregation": {"name": "gradvac"}},
    *({"training": {"optimizer": {"embeddings": {"name": name}}}} for name in TABLES if name != "dense"),
    {"training": {"averaging": {"decay": 0.6, "every": 3}}},
]


class Run:
    """A training in this process."""

    def __init__(self, method: dict[str, Any], checkpoint: Path | None = None) -> None:
        config = configured(method)
        preprocessing = fit(PreprocessingConfig(), FEATURES, TABLE)
        context = ModelContext(
            training_set="abc",
            batch_schema=preprocessing.batch_schema(TASKS),
            preprocessing=preprocessing,
            label_statistics={
                name: LabelStatistics(observed=100, mean=0.5 / (1 + at)) for at, name in enumerate(TASKS)
            },
        )
        torch.manual_seed(config.seed)
        tasks = {name: task.build(name, context.label_statistics[name]) for name, task in config.tasks.items()}
        model = config.model.build(context.batch_schema, tasks)
        self.state = TrainingState.create(config, context, model, STEPS)
        self.numbers = len(context.batch_schema.numeric)
        self.sizes = context.batch_schema.vocabularies["country"]
        if checkpoint is not None:
            self.state.restore(load_checkpoint(checkpoint))
        self.step = TrainStep(
            model,
            tasks,
            self.state.weighting,
            self.state.optimizer,
            self.state.schedule,
            config.training.clip_norm,
            "fp32",
            torch.device("cpu"),
            self.state.aggregation,
            config.aggregation.on,
        )

    def go_on(self, until: int) -> None:
        """Steps up to `until`; after every fourth an epoch ends."""
        for number in range(self.state.position.step, until):
            torch.manual_seed(number)
            self.step(self.batch(number))
            self.state.advance(batch=number)
            if number % 4 == 3:
                self.state.weighting.end_epoch(self.step.epoch_totals.means())
                self.step.epoch_totals.reset()

    def batch(self, number: int) -> Batch:
        random = torch.Generator().manual_seed(number)
        observed = torch.rand(ROWS, len(TASKS), generator=random) < 0.8
        if number == 3:
            observed[:, 1] = False
        labels = (torch.rand(ROWS, len(TASKS), generator=random) < 0.4) & observed
        return Batch(
            categorical=torch.randint(0, self.sizes, (ROWS, 1), generator=random, dtype=torch.int32),
            numeric=torch.randn(ROWS, self.numbers, generator=random),
            labels=labels.float(),
            observed=observed,
            sample_weight=torch.ones(ROWS),
            row_id=torch.arange(ROWS),
        )

    def parameters(self) -> dict[str, Tensor]:
        parts = {"model": self.state.model, "served": self.state.served, "weighting": self.state.weighting}
        if self.state.aggregation is not None:
            parts["aggregation"] = self.state.aggregation
        return {
            f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()
        }


def configured(method: dict[str, Any]) -> Config:
    return parse_config(
        {
            "name": "small",
            "features": {"repo": "feature_repo", "service": "s"},
            "training_set": {"spine": "spine", "split": {"by": "time", "validation": 0.1, "test": 0.1}},
            "tasks": {name: {"type": "binary"} for name in TASKS},
            "model": {"name": "mmoe", "num_experts": 2, "expert": [6], "tower": [4], "dropout": 0.1},
            **method,
        }
    )


@pytest.mark.parametrize("method", METHODS, ids=lambda method: "+".join(_names(method)) or "averaging")
def test_a_stopped_training_ends_where_the_other_does(method: dict[str, Any], tmp_path: Path) -> None:
    whole = Run(method)
    whole.go_on(STEPS)
    first = Run(method)
    first.go_on(4)
    first.state.save(tmp_path)
    second = Run(method, tmp_path)
    second.go_on(STEPS)
    expected, found = whole.parameters(), second.parameters()
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(found[name].nan_to_num(), value.nan_to_num()), name
        assert torch.equal(found[name].isnan(), value.isnan()), name


def _names(method: dict[str, Any]) -> list[str]:
    found = [method["name"]] if "name" in method else []
    return found + [name for leaf in method.values() if isinstance(leaf, dict) for name in _names(leaf)]
