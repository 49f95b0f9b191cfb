"""What a rank computes in, and what its machine could."""

from __future__ import annotations

import torch

from mtl_ray import distributed


def precision_of(asked: str, device: torch.device) -> str:
    """What `training.precision` comes to: auto is bf16 where every rank's device has units for such products, else
    fp32; all else is as asked. Collective for auto."""
    if asked != "auto":
        return asked
    return "bf16" if all(distributed.gather(has_bf16_products(device))) else "fp32"


def arithmetic(device: torch.device, precision: str) -> str:
    """In words: the precision, the threads of a CPU, and whether bf16 would be faster here, or fp32."""
    words = precision
    if device.type == "cuda" and torch.get_float32_matmul_precision() != "highest":
        words += " with tf32 products"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        words += f" on {threads} thread{'s' if threads > 1 else ''} each"
    if precision == "fp32" and has_bf16_products(device):
        words += f", while this {device.type.upper()} has units for bf16 products (training.precision=bf16)"
    if precision == "bf16" and not has_bf16_products(device) and not _has_bf16_instructions(device):
        words += (
            f". This {device.type.upper()} has no instructions for bf16, which may take fifty times as long as fp32: "
            "training.precision=fp32, or auto"
        )
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


def _has_bf16_instructions(device: torch.device) -> bool:
    """Without them PyTorch's products in bf16 are loops of single numbers; on a GPU they never are."""
    return device.type != "cpu" or bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
