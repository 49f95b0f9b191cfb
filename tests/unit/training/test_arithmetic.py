"""What the start of a training says of its arithmetic."""

from __future__ import annotations

import pytest
import torch

from mtl_ray.training.arithmetic import arithmetic, has_bf16_products, precision_of

CPU = torch.device("cpu")


def test_the_precision_and_the_threads_are_named() -> None:
    threads = torch.get_num_threads()
    assert arithmetic(CPU, "bf16").startswith(f"bf16 on {threads} thread{'s' if threads > 1 else ''} each")


def test_bf16_is_proposed_where_the_machine_has_units_for_it() -> None:
    proposed = "training.precision=bf16" in arithmetic(CPU, "fp32")
    assert proposed == has_bf16_products(CPU) == bool(torch.cpu.get_capabilities().get("amx_bf16", False))
    assert "training.precision" not in arithmetic(CPU, "fp64")


@pytest.mark.parametrize(
    ("units", "warned"), [({}, True), ({"avx512_bf16": True}, False), ({"amx_bf16": True, "avx512_bf16": True}, False)]
)
def test_bf16_on_a_processor_without_instructions_for_it_is_warned_of(
    units: dict[str, bool], warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    assert ("no instructions for bf16" in arithmetic(CPU, "bf16")) == warned
    assert "no instructions" not in arithmetic(CPU, "fp32")


@pytest.mark.parametrize(("able", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_where_there_are_units_for_it(able: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": able})
    assert precision_of("auto", CPU) == expected
    assert precision_of("fp64", CPU) == "fp64"
