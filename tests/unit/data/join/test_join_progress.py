"""What a long join tells, by a clock of the test's own."""

from __future__ import annotations

from mtl_ray.data.join.progress import RowProgress


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_short_join_says_nothing() -> None:
    said: list[str] = []
    clock = Clock()
    progress = RowProgress(100, said.append, clock)
    for done in range(1, 101):
        clock.now += 0.04
        progress.add(1, "joining", done, 100)
    assert said == []


def test_rows_and_time_left_of_all_stages() -> None:
    said: list[str] = []
    clock = Clock()
    progress = RowProgress(4_000_000, said.append, clock)
    clock.now += 10
    progress.add(1_000_000, "partitioning users by user_id", 1_000_000, 1_500_000)
    clock.now += 4
    progress.add(500_000, "partitioning users by user_id", 1_500_000, 1_500_000)
    clock.now += 1
    progress.add(0, "joining", 0, 2_500_000)
    assert said == [
        "partitioning users by user_id: 1,000,000 of 1,500,000 rows; about 30 s left for the whole join",
        "joining: 0 of 2,500,000 rows; about 25 s left for the whole join",
    ]


def test_the_end_is_not_announced() -> None:
    said: list[str] = []
    clock = Clock()
    progress = RowProgress(10, said.append, clock)
    clock.now += 100
    progress.add(10, "joining", 10, 10)
    assert said == []


def test_durations_for_people() -> None:
    said: list[str] = []
    for seconds in (89, 60 * 60, 24 * 3600):
        clock = Clock()
        progress = RowProgress(2, said.append, clock)
        clock.now += seconds
        progress.add(1, "joining", 1, 2)
    assert [sentence.split("about ")[1].split(" left")[0] for sentence in said] == ["89 s", "60 min", "24.0 h"]


def test_nothing_is_foretold_from_nothing() -> None:
    said: list[str] = []
    clock = Clock()
    progress = RowProgress(10, said.append, clock)
    clock.now += 6
    progress.add(0, "joining", 0, 10)
    assert said == []
