"""What a rank computes in, and what its machine could."""

from __future__ import annotations

import torch


def arithmetic(device: torch.device, precision: str) -> str:
    """In words: the precision, the threads of a CPU, and whether bf16 would be faster here."""
    words = precision
    if device.type == "cuda" and torch.get_float32_matmul_precision() != "highest":
        words += " with tf32 products"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        words += f" on {threads} thread{'s' if threads > 1 else ''} each"
    if precision == "fp32" and has_bf16_products(device):
        words += f", while this {device.type.upper()} has units for bf16 products (training.precision=bf16)"
    return words


def allow_tf32(device: torch.device, precision: str) -> None:
    """Let this process take float32 matrix products on a GPU in tf32 (10 bits of mantissa, summed in float32), several
    times as fast where there are units for it. Not in fp64 runs, whose few float32 products are for parity."""
    wanted = device.type == "cuda" and precision != "fp64" and torch.cuda.get_device_capability(device) >= (8, 0)
    torch.set_float32_matmul_precision("high" if wanted else "highest")


def has_bf16_products(device: torch.device) -> bool:
    """Whether matrix products in bf16 have units of their own, several times as fast as those in float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16", False))
