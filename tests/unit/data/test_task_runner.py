"""Pieces of work as Ray Data tasks: each result once, errors at once, processes that die not for ever."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtl_ray.data import task_runner
from mtl_ray.data.task_runner import run_tasks
from mtl_ray.errors import DataError, MtlRayError

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def tolerant() -> Iterator[None]:
    """A user whose own Ray Datasets may lose blocks."""
    import ray.data

    context = ray.data.DataContext.get_current()
    before, context.max_errored_blocks = context.max_errored_blocks, -1
    yield
    context.max_errored_blocks = before


def attempts(folder: Path, item: int) -> int:
    """How often the piece was begun."""
    return (folder / str(item)).stat().st_size


def test_each_piece_runs_once(tmp_path: Path) -> None:
    def square(item: int) -> int:
        with (tmp_path / str(item)).open("a") as file:
            file.write("x")
        return item * item

    assert sorted(run_tasks(square, range(9), "ray")) == [item * item for item in range(9)]
    assert [attempts(tmp_path, item) for item in range(9)] == [1] * 9
    assert list(run_tasks(square, [], "ray")) == []


@pytest.mark.usefixtures("tolerant")
def test_an_error_of_ours_arrives_as_it_is_and_is_not_tried_again(tmp_path: Path) -> None:
    def refuse(item: int) -> int:
        with (tmp_path / str(item)).open("a") as file:
            file.write("x")
        if item == 1:
            raise DataError("The spine cannot be used.", where="row 7")
        return item

    with pytest.raises(DataError, match="row 7"):
        list(run_tasks(refuse, range(3), "ray"))
    assert attempts(tmp_path, 1) == 1


@pytest.mark.usefixtures("tolerant")
def test_a_bug_is_neither_hidden_nor_tried_again(tmp_path: Path) -> None:
    from ray.exceptions import RayTaskError

    def broken(item: int) -> int:
        with (tmp_path / str(item)).open("a") as file:
            file.write("x")
        if item == 1:
            raise ValueError("of a piece")
        return item

    with pytest.raises(RayTaskError, match="of a piece"):
        list(run_tasks(broken, range(3), "ray"))
    assert attempts(tmp_path, 1) == 1


@pytest.mark.usefixtures("tolerant")
def test_a_piece_that_kills_its_process_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(item: int) -> int:
        with (tmp_path / str(item)).open("a") as file:
            file.write("x")
        if item == 1:
            os._exit(1)
        return item

    monkeypatch.setattr(task_runner, "MOST_RETRIES", 1)
    with pytest.raises(MtlRayError, match="could not be done in 1 more attempts"):
        list(run_tasks(die, range(3), "ray"))
    assert attempts(tmp_path, 1) == 2


def test_a_process_that_dies_once_costs_nothing_but_time(tmp_path: Path) -> None:
    def die_once(item: int) -> int:
        with (tmp_path / str(item)).open("a") as file:
            file.write("x")
        if item == 1 and (tmp_path / "1").stat().st_size == 1:
            os._exit(1)
        return item

    assert sorted(run_tasks(die_once, range(3), "ray")) == [0, 1, 2]
    assert attempts(tmp_path, 1) == 2
