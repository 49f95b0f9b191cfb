"""Sampling of training rows: which rows, how many, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from mtl_ray.config import parse_config
from mtl_ray.data.labels import Labels
from mtl_ray.data.sampling import NegativeSamplingConfig, OverSamplingConfig, check_sampling, repeats, with_sampling
from mtl_ray.data.splits.hashing import hashes, stream_key
from mtl_ray.errors import ConfigError
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import TaskConfig

TASKS: dict[str, TaskConfig] = TypeAdapter(dict[str, TaskConfig]).validate_python(
    {"click": {"type": "binary"}, "value": {"type": "regression"}, "purchase": {"type": "binary"}}
)
ROWS = 40_000
NEGATIVE = NegativeSamplingConfig(task="click", keep=0.1)
OVER = OverSamplingConfig(task="purchase", factor=2.25)


def labels(rows: int = ROWS, seed: int = 0) -> Labels:
    draw = np.random.default_rng(seed)
    values = (draw.random((rows, 3)) < [0.3, 0.5, 0.1]).astype(np.float32)
    observed = draw.random((rows, 3)) < [0.8, 0.5, 0.6]
    return Labels(np.where(observed, values, np.float32(0.0)), observed)


def sampled(given: Labels, row_id: np.ndarray, **samplings: Any) -> np.ndarray:
    found = repeats(given, row_id, list(TASKS), **samplings)
    assert found.dtype == np.int32
    return found


def test_negatives_are_kept_at_their_rate_and_all_others_once() -> None:
    given = labels()
    found = sampled(given, np.arange(ROWS), negative=NEGATIVE)
    negative = given.observed[:, 0] & (given.values[:, 0] == 0)
    assert set(found.tolist()) == {0, 1}
    np.testing.assert_array_equal(found[~negative], 1)
    # Five standard deviations of a binomial.
    assert found[negative].mean() == pytest.approx(0.1, abs=5 * np.sqrt(0.09 / negative.sum()))


def test_positives_are_repeated_and_all_others_once() -> None:
    given = labels()
    found = sampled(given, np.arange(ROWS), over=OVER)
    positive = given.observed[:, 2] & (given.values[:, 2] == 1)
    np.testing.assert_array_equal(found[~positive], 1)
    assert set(found[positive].tolist()) == {2, 3}
    assert found[positive].mean() == pytest.approx(2.25, abs=5 * np.sqrt(0.1875 / positive.sum()))


def test_a_whole_factor_repeats_exactly() -> None:
    given = labels()
    found = sampled(given, np.arange(ROWS), over=OverSamplingConfig(task="purchase", factor=3))
    np.testing.assert_array_equal(found, np.where(given.values[:, 2] == 1, 3, 1))


def test_both_samplings_draw_independently() -> None:
    given = labels()
    both = sampled(given, np.arange(ROWS), negative=NEGATIVE, over=OVER)
    alone = sampled(given, np.arange(ROWS), negative=NEGATIVE) * sampled(given, np.arange(ROWS), over=OVER)
    np.testing.assert_array_equal(both, alone)
    crossed = (given.observed[:, 0] & (given.values[:, 0] == 0)) & (given.values[:, 2] == 1)
    assert both[crossed].mean() == pytest.approx(0.1 * 2.25, abs=5 * np.sqrt(0.5 / crossed.sum()))


def test_the_draw_is_independent_of_a_split_with_the_same_seed() -> None:
    given = labels()
    first_half = hashes(np.arange(ROWS), stream_key("split", 0)) < np.uint64(2**63)
    negative = given.observed[:, 0] & (given.values[:, 0] == 0) & first_half
    found = sampled(given, np.arange(ROWS), negative=NEGATIVE)[negative]
    assert found.mean() == pytest.approx(0.1, abs=5 * np.sqrt(0.09 / negative.sum()))


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(1, 200), st.integers(0, 2**62))
def test_a_row_is_drawn_by_its_id_alone(begin: int, size: int, seed: int) -> None:
    given = labels(700)
    row_id = np.arange(700) + 10**12
    samplings = {
        "negative": NegativeSamplingConfig(task="click", keep=0.4, seed=seed),
        "over": OverSamplingConfig(task="purchase", factor=1.5, seed=seed),
    }
    whole = sampled(given, row_id, **samplings)
    rows = slice(begin, begin + size)
    piece = sampled(Labels(given.values[rows], given.observed[rows]), row_id[rows], **samplings)
    np.testing.assert_array_equal(piece, whole[rows])


def test_another_seed_keeps_other_rows() -> None:
    given = labels()
    first, second = (
        sampled(given, np.arange(ROWS), negative=NegativeSamplingConfig(task="click", keep=0.5, seed=seed))
        for seed in (0, 1)
    )
    negative = given.observed[:, 0] & (given.values[:, 0] == 0)
    assert (first != second)[negative].mean() == pytest.approx(0.5, abs=0.02)


def test_without_sampling_every_row_is_there_once() -> None:
    np.testing.assert_array_equal(sampled(labels(), np.arange(ROWS)), 1)
    all_kept = NegativeSamplingConfig(task="click", keep=1.0)
    np.testing.assert_array_equal(sampled(labels(), np.arange(ROWS), negative=all_kept), 1)


def test_statistics_say_what_was_sampled() -> None:
    before = {name: LabelStatistics(observed=10, mean=0.25) for name in TASKS}
    after = with_sampling(before, NEGATIVE, OVER)
    assert (after["click"].negative_keep, after["click"].positive_repeat) == (0.1, 1.0)
    assert (after["purchase"].negative_keep, after["purchase"].positive_repeat) == (1.0, 2.25)
    assert after["value"] == before["value"]
    assert after["click"].mean == 0.25, "the base rate stays that of the rows before sampling"
    assert with_sampling(before) == before


@pytest.mark.parametrize(
    ("key", "task", "what", "fix"),
    [
        ("negative_sampling", "clik", "unknown", "did you mean click?"),
        ("over_sampling", "value", "not binary", "name a binary task, or remove the key"),
        ("over_sampling", "xyz", "unknown", "name a binary task, or remove the key"),
    ],
)
def test_a_task_that_cannot_be_sampled_by(key: str, task: str, what: str, fix: str) -> None:
    negative = NegativeSamplingConfig(task=task, keep=0.1) if key == "negative_sampling" else NEGATIVE
    over = OverSamplingConfig(task=task, factor=2) if key == "over_sampling" else OVER
    with pytest.raises(ConfigError) as caught:
        check_sampling(negative, over, TASKS)
    error = caught.value
    assert what in error.what
    assert (error.where, error.allowed, error.fix) == (f"training_set.{key}.task", "click, purchase", fix)


def test_a_config_with_such_a_task_is_refused() -> None:
    tree: dict[str, Any] = {
        "name": "small",
        "features": {"repo": "feature_repo", "service": "s"},
        "training_set": {
            "spine": "spine",
            "split": {"by": "random", "validation": 0.1, "test": 0.1},
            "negative_sampling": {"task": "click", "keep": 0.1},
        },
        "tasks": {"click": {"type": "binary"}},
        "model": {"name": "mmoe"},
    }
    assert parse_config(tree).training_set.negative_sampling == NEGATIVE
    tree["training_set"]["negative_sampling"]["task"] = "clicks"
    with pytest.raises(ConfigError, match=r"training_set\.negative_sampling\.task[\s\S]*did you mean click\?"):
        parse_config(tree)


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.5, float("nan")])
def test_rates_that_cannot_be(keep: float) -> None:
    with pytest.raises(ValidationError, match="keep"):
        NegativeSamplingConfig(task="click", keep=keep)


@pytest.mark.parametrize("factor", [0.5, float("inf"), float("nan")])
def test_factors_that_cannot_be(factor: float) -> None:
    with pytest.raises(ValidationError, match="factor"):
        OverSamplingConfig(task="click", factor=factor)
