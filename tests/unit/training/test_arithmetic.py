"""What the start of a training says of its arithmetic."""

from __future__ import annotations

import torch

from mtl_ray.training.arithmetic import arithmetic, has_bf16_products

CPU = torch.device("cpu")


def test_the_precision_and_the_threads_are_named() -> None:
    threads = torch.get_num_threads()
    assert arithmetic(CPU, "bf16") == f"bf16 on {threads} thread{'s' if threads > 1 else ''} each"


def test_bf16_is_proposed_where_the_machine_has_units_for_it() -> None:
    proposed = "training.precision=bf16" in arithmetic(CPU, "fp32")
    assert proposed == has_bf16_products(CPU) == bool(torch.cpu.get_capabilities().get("amx_bf16", False))
    assert "training.precision" not in arithmetic(CPU, "fp64")
