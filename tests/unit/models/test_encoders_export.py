"""Every encoder and interaction as an exported graph, with any number of rows, and compiled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.models.sharing import PEPNetConfig, SharedBottomConfig, STEMConfig
from tests.random_batch import RICH_SCHEMA, make_tasks, rich_batch
from tests.unit.models.encoder_cases import ENCODERS, build, config_of, tensors_of

# A history has all that a single list has.
each_encoder = pytest.mark.parametrize("name", [name for name in ENCODERS if not name.startswith("sequence")])


class OnTensors(nn.Module):
    """A module of a batch, from the batch's tensors, as `torch.export` wants its inputs."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, tensors: dict[str, Any]) -> Any:
        rows = tensors["categorical"].shape[0]
        nothing = tensors["numeric"].new_zeros(rows, 0)
        batch = Batch(
            labels=nothing,
            observed=nothing.bool(),
            sample_weight=tensors["numeric"].new_ones(rows),
            row_id=torch.arange(rows),
            **tensors,
        )
        return self.inner(batch)


def exported(module: nn.Module) -> nn.Module:
    rows = torch.export.Dim("rows", min=2, max=1 << 20)
    tensors = tensors_of(rich_batch(9))
    shapes = {
        key: {name: {0: rows} for name in value} if isinstance(value, dict) else {0: rows}
        for key, value in tensors.items()
    }
    return torch.export.export(OnTensors(module.eval()), (tensors,), dynamic_shapes=(shapes,)).module()


@each_encoder
def test_export_with_any_number_of_rows(name: str) -> None:
    encoder = build(name)
    graph = exported(encoder)
    batch = rich_batch(4, seed=5)
    torch.testing.assert_close(graph(tensors_of(batch)), encoder(batch), rtol=1e-5, atol=1e-6)


@each_encoder
def test_compile_to_one_graph(name: str) -> None:
    torch.compiler.reset()
    encoder = build(name).eval()
    compiled = torch.compile(OnTensors(encoder), fullgraph=True, backend="eager")
    batch = rich_batch(9)
    found: Tensor = compiled(tensors_of(batch))
    torch.testing.assert_close(found, encoder(batch), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sharing", [SharedBottomConfig, STEMConfig, PEPNetConfig], ids=lambda leaf: leaf.__name__)
def test_export_of_whole_models(sharing: Any) -> None:
    torch.manual_seed(0)
    model = sharing(encoder=config_of("single-features")).build(RICH_SCHEMA, make_tasks())
    graph = exported(model)
    batch = rich_batch(4, seed=5)
    expected, found = model(batch), graph(tensors_of(batch))
    for task in RICH_SCHEMA.tasks:
        torch.testing.assert_close(found[task], expected[task], rtol=1e-5, atol=1e-6)
