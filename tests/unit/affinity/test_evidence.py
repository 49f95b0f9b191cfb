"""How sure a grouping is: intervals, shares and verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from mtl_ray.affinity.evidence import Evidence

NAMES = ("a", "b", "c", "d")
PAIRS = np.array([[0, 1, -1, -1], [1, 0, -1, -1], [-1, -1, 0, 1], [-1, -1, 1, 0]], dtype=float)


def steps(mean: np.ndarray, noise: float, number: int = 200, seed: int = 0) -> np.ndarray:
    return mean + noise * np.random.default_rng(seed).normal(size=(number, *mean.shape))


def test_two_pairs_are_found_and_are_sure() -> None:
    evidence = Evidence(steps(PAIRS, 1.0), 0.95, seed=0)
    two, three = evidence.groupings(NAMES, (2, 3))
    assert two.groups == (("a", "b"), ("c", "d"))
    assert two.served == {"a": 0, "b": 0, "c": 1, "d": 1}
    assert two.wins == 1.0
    assert two.verdict == "better"
    assert two.score.value == pytest.approx(4.0, abs=0.5)
    # Together each task has one friend and two foes: -1/3.
    assert evidence.together.value == pytest.approx(-4 / 3, abs=0.5)
    assert two.gain.value == pytest.approx(16 / 3, abs=0.8)
    assert two.gain.low is not None
    assert two.gain.low > 4
    assert two.runner_up is not None
    assert two.runner_up != two.groups
    assert two.lead is not None
    assert two.lead.value is not None
    assert two.lead.value > 0
    assert three.score.value is not None
    assert three.score.value >= two.score.value


def test_noise_alone_beats_nothing() -> None:
    """The best grouping scores higher than all together; on steps that it was not chosen by it does not."""
    better, above, wins = 0, 0, []
    for seed in range(60):
        evidence = Evidence(steps(np.zeros((4, 4)), 1.0, 60, seed), 0.95, seed)
        (found,) = evidence.groupings(NAMES, (2,))
        assert found.score.value is not None
        assert evidence.together.value is not None
        above += found.score.value > evidence.together.value
        better += found.verdict == "better"
        wins.append(found.wins)
    # Measured over 300 seeds: 1 % better; the median share of wins is 0.30.
    assert above >= 55
    assert better <= 3
    assert np.median(wins) < 0.5


def test_tasks_that_help_each_other_stay_together() -> None:
    exact = Evidence(np.ones((50, 4, 4)), 0.95, seed=0).groupings(NAMES, (2,))[0]
    assert exact.groups == (NAMES,)
    assert exact.verdict == "together"
    assert exact.gain.value == 0.0
    assert exact.wins == 1.0


def test_intervals_hold_as_often_as_they_say() -> None:
    held = 0
    for seed in range(200):
        cell = Evidence(steps(np.full((2, 2), 0.3), 1.0, 80, seed), 0.95, seed).matrix[0][1]
        assert cell.low is not None
        assert cell.high is not None
        held += cell.low <= 0.3 <= cell.high
    assert 0.88 < held / 200 < 0.99


def test_neighbours_that_are_alike_widen_an_interval() -> None:
    """Every value eight times in a row says no more than once."""
    own = steps(np.zeros((2, 2)), 1.0, 64)
    repeated = np.repeat(own, 8, axis=0)

    def width(affinity: np.ndarray) -> float:
        cell = Evidence(affinity, 0.95, 0).matrix[0][1]
        assert cell.low is not None
        assert cell.high is not None
        return cell.high - cell.low

    shuffled = np.random.default_rng(0).permutation(repeated)
    assert width(repeated) > 1.8 * width(shuffled)


def test_thirds_show_what_changes() -> None:
    affinity = np.repeat(np.array([1.0, 2.0, 3.0]), 10)[:, None, None] * np.ones((30, 2, 2))
    thirds = Evidence(affinity, 0.95, 0).thirds
    assert {name: means[0][1] for name, means in thirds.items()} == {"early": 1.0, "middle": 2.0, "late": 3.0}


def test_steps_without_a_label_are_left_out() -> None:
    affinity = steps(PAIRS, 0.0, 60)
    affinity[::2, 1, :] = np.nan
    affinity[:, :, 3] = np.nan
    evidence = Evidence(affinity, 0.95, 0)
    assert evidence.matrix[1][0].value == 1.0
    assert evidence.matrix[0][3].value is None
    assert evidence.thirds["early"][0][3] is None
    (found,) = evidence.groupings(NAMES, (2,))
    assert ("a", "b") in found.groups
