"""A cluster of our own does what a command needs and no more, and leaves the environment as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psutil
import pytest
import ray

from mtl_ray.local_cluster import FRUGAL, local_cluster


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in FRUGAL:
        monkeypatch.delenv(name, raising=False)
    yield
    assert not ray.is_initialized()


def environment_of_task() -> dict[str, str | None]:
    # Within the function, so that it travels by value.
    @ray.remote(num_cpus=1)
    def seen(names: list[str]) -> dict[str, str | None]:
        return {name: os.environ.get(name) for name in names}

    found: dict[str, str | None] = ray.get(seen.remote(list(FRUGAL)))
    return found


def commands() -> list[str]:
    return [" ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)]


@pytest.mark.usefixtures("unset")
def test_frugal_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_event_stats", "1")
    before = dict(os.environ)
    with local_cluster(2):
        assert ray.cluster_resources()["CPU"] == 2
        assert environment_of_task() == {**FRUGAL, "RAY_event_stats": "1"}
        running = commands()
    assert any("raylet" in command for command in running)
    assert not any("log_monitor" in command for command in running)
    assert {name: os.environ.get(name) for name in FRUGAL} == {name: before.get(name) for name in FRUGAL}


@pytest.mark.usefixtures("unset")
def test_an_error_in_the_block_ends_the_cluster() -> None:
    with pytest.raises(ZeroDivisionError), local_cluster(1):
        1 / 0  # noqa: B018
    assert not ray.is_initialized()
    assert not any("raylet" in command for command in commands())
    assert not any(name in os.environ for name in FRUGAL)
