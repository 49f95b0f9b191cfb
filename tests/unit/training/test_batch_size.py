"""How a batch size is found: what ends the doubling, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mtl_ray.errors import ConfigError
from mtl_ray.training.batch_size import Measured, doubled

ENDLESS = 10**9


def machine(speed: Callable[[int], float], fits: int = ENDLESS) -> Callable[[int], Measured | None]:
    """Memory grows with the rows; what is more than `fits` does not fit, and is not foreseen."""
    return lambda rows: None if rows > fits else Measured(rows, speed(rows), 0.1)


def test_until_it_no_longer_pays() -> None:
    found = doubled(64, ENDLESS, machine(lambda rows: min(rows, 1000) * 10.0))
    assert found.rows == 1024  # 512 -> 1,024 brings 95 %, 2,048 nothing
    assert [measured.rows for measured in found.tried] == [64, 128, 256, 512, 1024, 2048]
    assert "+0% samples/s" in found.why


def test_slower_is_not_chosen() -> None:
    found = doubled(64, ENDLESS, machine(lambda rows: 100.0 if rows == 64 else 50.0))
    assert found.rows == 64
    assert "-50% samples/s" in found.why


def test_until_it_does_not_fit() -> None:
    found = doubled(64, ENDLESS, machine(float, fits=300))
    assert found.rows == 256
    assert "did not fit" in found.why


def test_memory_is_not_tried_out_where_it_can_be_foreseen() -> None:
    found = doubled(64, ENDLESS, lambda rows: Measured(rows, float(rows), rows / 300))
    assert found.rows == 256
    assert found.tried[-1].rows == 256
    assert "would not fit" in found.why


def test_an_epoch_keeps_its_steps() -> None:
    found = doubled(64, 200, machine(float))
    assert found.rows == 128
    assert "steps an epoch" in found.why


def test_what_does_not_even_begin() -> None:
    with pytest.raises(ConfigError, match="does not fit") as caught:
        doubled(64, ENDLESS, machine(float, fits=10))
    assert "training.global_batch_size" in str(caught.value)
    assert "accumulate" in str(caught.value)
