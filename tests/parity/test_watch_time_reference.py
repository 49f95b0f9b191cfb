"""D2Q against brute force: its groups and quantiles by sorting all rows, its targets by counting."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import rankdata

from mtl_ray.data.labels import Labels, label_counts, label_summary
from mtl_ray.data.splits import PARTS
from mtl_ray.data.task_inputs import encode_task_inputs, size_cells
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig, TaskConfig, WatchTimeTask, WatchTimeTaskConfig
from mtl_ray.tasks.size_grid import CELLS_AN_OCTAVE, EDGES, cells, middle

ROWS = 6000
RANDOM = np.random.default_rng(3)
DURATION = np.where(RANDOM.random(ROWS) < 0.05, np.nan, RANDOM.lognormal(4, 1, ROWS)).astype(np.float32)
WATCHED = np.where(RANDOM.random(ROWS) < 0.2, 0.0, np.nan_to_num(DURATION, nan=30.0) * RANDOM.beta(1, 2, ROWS))
WATCHED = WATCHED.astype(np.float32)
OBSERVED = RANDOM.random(ROWS) < 0.9
PART = RANDOM.integers(0, 2, ROWS).astype(np.int8)


def statistics(tasks: dict[str, TaskConfig], buckets: Sequence[np.ndarray], duration: np.ndarray) -> LabelStatistics:
    counts = []
    for rows in buckets:
        labels = Labels(
            np.stack([np.where(OBSERVED, WATCHED, 0), np.zeros(ROWS)], axis=1)[rows].astype(np.float32),
            np.stack([OBSERVED, np.ones(ROWS, dtype=bool)], axis=1)[rows],
        )
        inputs = encode_task_inputs(pa.table({"duration": duration[rows]}), tasks, labels)
        counts.append(label_counts(labels, PART[rows], size_cells(inputs, tasks)))
    found, _ = label_summary(counts, tasks)
    return found["watch"]


def fitted(groups: int, duration: np.ndarray = DURATION) -> tuple[WatchTimeTask, LabelStatistics]:
    config = WatchTimeTaskConfig(duration="duration", groups=groups)
    tasks: dict[str, TaskConfig] = {"watch": config, "click": BinaryTaskConfig()}
    found = statistics(tasks, [np.arange(ROWS)], duration)
    return config.build("watch", found), found


def tensors(rows: np.ndarray, duration: np.ndarray = DURATION) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    return torch.tensor(WATCHED[rows]).double(), {"duration": torch.tensor(duration[rows])}


def training_rows() -> np.ndarray:
    """Observed rows of the training part."""
    return np.flatnonzero(OBSERVED & (PARTS.index("train") == PART))


@pytest.mark.parametrize("groups", [1, 4, 30])
def test_groups_are_of_equal_size_and_quantiles_those_of_their_labels(groups: int) -> None:
    _, found = fitted(groups)
    assert found.duration_groups is not None
    edges, table = found.duration_groups.edges, found.duration_groups.quantiles
    assert len(edges) == groups - 1
    rows = training_rows()
    known = rows[~np.isnan(DURATION[rows])]
    group = np.array([sum(DURATION[row] >= edge for edge in edges) for row in known])
    # A group ends with the cell that reaches its share: it is off by less than the fullest cell.
    fullest = np.bincount(cells(DURATION[known])).max()
    sizes = np.bincount(group, minlength=groups)
    assert np.abs(sizes.cumsum() - len(known) * np.arange(1, groups + 1) / groups).max() < fullest
    for number in range(groups):
        expected = np.quantile(WATCHED[known[group == number]].astype(np.float64), np.linspace(0, 1, 201))
        np.testing.assert_array_equal(table[number], expected)
    np.testing.assert_array_equal(table[-1], np.quantile(WATCHED[rows].astype(np.float64), np.linspace(0, 1, 201)))


def test_statistics_do_not_depend_on_how_rows_are_cut_into_buckets() -> None:
    tasks: dict[str, TaskConfig] = {"watch": WatchTimeTaskConfig(duration="duration"), "click": BinaryTaskConfig()}
    whole = statistics(tasks, [np.arange(ROWS)], DURATION)
    order = RANDOM.permutation(ROWS)
    assert statistics(tasks, np.array_split(order, 7), DURATION) == whole


def test_targets_are_middle_ranks_within_the_group() -> None:
    task, found = fitted(4)
    assert found.duration_groups is not None
    rows = training_rows()
    label, inputs = tensors(rows)
    target = task.quantile_of(label, inputs["duration"]).numpy()
    group = np.array([sum(DURATION[row] >= edge for edge in found.duration_groups.edges) for row in rows])
    for number in range(4):
        chosen = (group == number) & ~np.isnan(DURATION[rows])
        ranks = (rankdata(WATCHED[rows][chosen]) - 1) / (chosen.sum() - 1)
        assert np.abs(target[chosen] - ranks).max() <= 1 / 200
        assert target[chosen].mean() == pytest.approx(0.5, abs=2e-3)
    unknown = np.isnan(DURATION[rows])
    everyone = (rankdata(WATCHED[rows]) - 1) / (len(rows) - 1)
    assert np.abs(target[unknown] - everyone[unknown]).max() <= 1 / 200


def test_loss_and_prediction_are_those_of_a_loop() -> None:
    task, found = fitted(4)
    assert found.duration_groups is not None
    rows = np.concatenate([training_rows()[:300], np.flatnonzero(np.isnan(DURATION))[:20]])
    label, inputs = tensors(rows)
    output = torch.tensor(RANDOM.normal(size=(len(rows), 1)) * 4)
    table = np.array(found.duration_groups.quantiles)
    ranks = np.linspace(0, 1, 201)
    losses, predictions = [], []
    for row, z in zip(rows, output[:, 0].tolist(), strict=True):
        duration = DURATION[row]
        group = 4 if math.isnan(duration) else sum(duration >= edge for edge in found.duration_groups.edges)
        values, y = table[group], float(WATCHED[row])
        same = np.flatnonzero(values == y)
        target = ranks[same].mean() if same.size else np.interp(y, values, ranks)
        quantile = 1 / (1 + math.exp(-z))
        losses.append((quantile - target) ** 2)
        predictions.append(np.interp(quantile, ranks, values))
    np.testing.assert_allclose(task.loss(output, label, inputs).numpy(), losses, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(task.predict(output, inputs).numpy(), predictions, rtol=1e-10, atol=1e-12)


def test_a_prediction_of_the_target_is_the_label() -> None:
    task, _ = fitted(4)
    rows = training_rows()
    label, inputs = tensors(rows)
    target = task.quantile_of(label, inputs["duration"])
    inner = (target > 1e-9) & (target < 1 - 1e-9)
    predicted = task.predict(torch.logit(target)[:, None], inputs)
    torch.testing.assert_close(predicted[inner], label[inner], rtol=1e-9, atol=1e-9)


def test_many_rows_of_one_duration_make_fewer_groups() -> None:
    duration = np.where(RANDOM.random(ROWS) < 0.7, np.float32(15.0), RANDOM.lognormal(5, 1, ROWS)).astype(np.float32)
    task, found = fitted(10, duration)
    assert found.duration_groups is not None
    assert 2 <= len(found.duration_groups.quantiles) - 1 < 10
    label, inputs = tensors(np.arange(ROWS), duration)
    assert torch.isfinite(task.loss(torch.zeros(ROWS, 1), label, inputs)).all()


def test_without_any_duration_all_rows_are_one_group() -> None:
    task, found = fitted(10, np.full(ROWS, np.nan, dtype=np.float32))
    assert found.duration_groups is not None
    assert found.duration_groups.edges == ()
    median = np.median(WATCHED[training_rows()])
    some = torch.zeros(1, 1, dtype=torch.float64)
    for duration in (3.0, math.nan):
        assert float(task.predict(some, {"duration": torch.tensor([duration])})) == pytest.approx(median, rel=1e-6)


def test_without_any_label_everything_is_finite() -> None:
    task = WatchTimeTaskConfig(duration="duration").build("watch", LabelStatistics(observed=0))
    inputs = {"duration": torch.tensor([3.0, math.nan])}
    assert torch.isfinite(task.loss(torch.ones(2, 1), torch.tensor([0.0, 5.0]), inputs)).all()
    assert task.predict(task.initial_bias().expand(2, 1), inputs).tolist() == [0.0, 0.0]


def test_cells_hold_what_lies_between_their_edges() -> None:
    sizes = np.concatenate([[0.0, np.nan, 1e-45, 3e38], RANDOM.lognormal(0, 20, 5000), EDGES[::100]]).astype(np.float32)
    found = cells(sizes)
    known = ~np.isnan(sizes)
    assert (found[~known] == -1).all()
    inside = known & (found > 0) & (found < len(EDGES))
    assert (EDGES[found[inside] - 1] <= sizes[inside]).all()
    assert (sizes[inside] < EDGES[found[inside]]).all()
    off = middle(found[inside]) / sizes[inside].astype(np.float64)
    assert np.abs(np.log2(off)).max() <= 0.5 / CELLS_AN_OCTAVE + 1e-6
