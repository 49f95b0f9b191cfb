"""What workers post reaches the driver as it comes, all of it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import ray

from mtl_ray.training.progress import BoardReader, start_board

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_a_record_arrives_without_waiting_for_the_end_and_none_is_left_out() -> None:
    board = start_board()
    received: list[dict[str, Any]] = []
    third = threading.Event()

    def receive(record: dict[str, Any]) -> None:
        received.append(record)
        if record == {"step": 3}:
            third.set()

    with BoardReader(board, receive):
        for step in (1, 2, 3):
            board.post.remote({"step": step})
        assert third.wait(60), "nothing arrives before the block ends"
        for step in (4, 5):
            board.post.remote({"step": step})
    assert received == [{"step": step} for step in (1, 2, 3, 4, 5)]


def test_a_block_without_records_ends() -> None:
    with BoardReader(start_board(), lambda _: None):
        pass


def test_what_the_receiver_raises_is_raised_at_the_end() -> None:
    def receive(record: dict[str, Any]) -> None:
        raise OSError(f"no room for {record}")

    board = start_board()
    with pytest.raises(OSError, match="no room for"), BoardReader(board, receive):
        ray.get(board.post.remote({"step": 1}))


def test_the_first_failure_counts() -> None:
    board = start_board()
    assert ray.get(board.failure.remote()) is None
    ray.get([board.fail.remote("the first"), board.fail.remote("the second")])
    assert ray.get(board.failure.remote()) == "the first"
