"""A compiled model takes the steps of one that is not, and auto keeps the faster."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from mtl_ray.training import compilation
from mtl_ray.training.compilation import TIMED, WARM_UP, Compilation
from tests.parity.balancing.balanced_steps import Balance, build, global_batch, train_step

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _compile_anew() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def trained(compiled: bool, sparse: bool) -> dict[str, Tensor]:
    model = build()
    for table in model.embedding_tables():
        table.sparse = sparse
    compilation = Compilation(model, compiled, CPU)
    assert (compilation.decided() is not None) == compiled
    step, _, _ = train_step(Balance(), model)
    for number in range(4):
        with compilation.step():
            step(global_batch(number))
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("sparse", [False, True])
def test_the_same_steps(sparse: bool) -> None:
    plain, compiled = trained(False, sparse), trained(True, sparse)
    assert plain.keys() == compiled.keys()
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=0, atol=1e-5, msg=name)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_auto_keeps_the_faster(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that is ours: a compiled step takes `factor` of the other."""
    model = torch.nn.Linear(2, 2)
    compiled: list[bool] = []
    monkeypatch.setattr(model, "compile", lambda **_: setattr(model, "_compiled_call_impl", model.forward))
    now = 0.0
    monkeypatch.setattr(compilation, "time", SimpleNamespace(perf_counter=lambda: now))
    trial = Compilation(model, "auto", CPU)
    for _ in range(2 * (WARM_UP + TIMED) + 1):
        with trial.step():
            compiled.append(model._compiled_call_impl is not None)
            now += factor if compiled[-1] else 1.0
    phase = WARM_UP + TIMED
    assert compiled == [False] * phase + [True] * phase + [factor < 1]
    words = trial.decided()
    assert words is not None
    assert f"{1000 * factor:.1f} ms a step with torch.compile, 1000.0 ms without" in words
    assert ("stays compiled" in words) == (factor < 1)
    assert trial.decided() is None
