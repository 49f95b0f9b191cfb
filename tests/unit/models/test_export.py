"""Every architecture as an exported graph, and a few compiled."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.models import MultiTaskModel
from tests.unit.models.cases import MEMBERS, Case, each_once, name_of
from tests.unit.models.task_sets import task_sets_of


class OnTensors(nn.Module):
    """A model from a batch's tensors, as `torch.export` wants its inputs."""

    def __init__(self, model: MultiTaskModel, lists: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.lists = lists

    def forward(self, categorical: Tensor, numeric: Tensor, *lists: Tensor) -> dict[str, Tensor]:
        rows = categorical.shape[0]
        nothing = numeric.new_zeros(rows, 0)
        batch = Batch(
            categorical=categorical,
            numeric=numeric,
            labels=nothing,
            observed=nothing.bool(),
            sample_weight=numeric.new_ones(rows),
            row_id=torch.arange(rows),
            lists=dict(zip(self.lists, lists, strict=True)),
        )
        logits: dict[str, Tensor] = self.model(batch)
        return logits


@each_once
def test_export_with_any_number_of_rows(case: Case) -> None:
    model = OnTensors(case.build().eval(), tuple(feature.name for feature in case.set.schema.lists))
    batch, other = case.set.batch(9), case.set.batch(4, seed=5)
    rows = torch.export.Dim("rows", min=2, max=1 << 20)
    arguments = (batch.categorical, batch.numeric, *batch.lists.values())
    shapes = ({0: rows}, {0: rows}, tuple({0: rows} for _ in batch.lists))
    exported = torch.export.export(model, arguments, dynamic_shapes=shapes).module()
    arguments = (other.categorical, other.numeric, *other.lists.values())
    expected, found = model(*arguments), exported(*arguments)
    for name in case.set.schema.tasks:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["stem", "escm2"])
def test_compile(name: str) -> None:
    """Slow on a CPU: two that between them have several encoders, stopped gradients and a task graph."""
    member = next(member for member in MEMBERS if name_of(member.model_construct()) == name)
    case = Case(member(), task_sets_of(member())[-1])
    model = case.build().eval()
    batch = case.set.batch(9)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    expected, found = model(batch), compiled(batch)
    for task in case.set.schema.tasks:
        torch.testing.assert_close(found[task], expected[task], rtol=1e-5, atol=1e-6)
