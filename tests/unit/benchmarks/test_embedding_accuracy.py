"""When sharded tables are within noise of replicated ones."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.embedding_scale.accuracy import verdict


def row(of: str, difference: float, low: float, high: float) -> dict[str, Any]:
    return {"task": "click", "of": of, "difference": difference, "low": low, "high": high}


def test_seeds_on_both_sides_of_zero() -> None:
    """Student's interval of +2, -2, +3: mean 1, standard deviation 2.646, t 4.303."""
    rows = [row("sharded, seed 0", each, each - 0.1, each + 0.1) for each in (2.0, -2.0, 3.0)]
    found = verdict("click", rows)
    assert found.met is True
    assert found.measured == "+1.00000 (-5.57241 to +7.57241); by seed +2.00000, -2.00000, +3.00000"


def test_seeds_on_one_side() -> None:
    rows = [row("sharded, seed 0", each, -9.0, 9.0) for each in (2.0, 2.1, 1.9)]
    assert verdict("click", rows).met is False


def test_one_seed_by_its_own_interval() -> None:
    other = row("replicated, seed 1", -0.2, -0.5, 0.1)
    assert verdict("click", [row("sharded, seed 0", 0.3, -0.1, 0.7), other]).met is True
    assert verdict("click", [row("sharded, seed 0", 0.3, 0.1, 0.5), other]).met is False
    assert verdict("click", [row("sharded, seed 0", 0.15, 0.1, 0.2), other]).met is True
