"""What a local Ray could never offer is refused instead of waited for; what Ray prints stays out of the result."""

from __future__ import annotations

import sys
from unittest.mock import Mock

import pytest

from mtl_ray.cluster import DRIVER_MEMORY, check_resources, driver_memory, ray_session
from mtl_ray.errors import ConfigError


@pytest.fixture(autouse=True)
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores, no GPU, and no Ray yet."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def test_what_fits_is_allowed() -> None:
    check_resources(2, 0)
    check_resources(16, 0)


def test_far_more_workers_than_cores() -> None:
    with pytest.raises(ConfigError, match="too small for so many workers") as caught:
        check_resources(64, 0)
    assert "training.workers" in str(caught.value)
    assert "64 CPUs on 2 cores" in str(caught.value)
    assert "16 here" in str(caught.value)


def test_workers_without_a_gpu() -> None:
    with pytest.raises(ConfigError, match="too few GPUs") as caught:
        check_resources(2, 2)
    assert "training.use_gpu=false" in str(caught.value)


def test_a_cluster_may_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    check_resources(64, 8)


@pytest.mark.parametrize(("has", "reserved"), [([0.0, 16e9], DRIVER_MEMORY), ([1e8, 3e8], 3e8), ([0.0], 1)])
def test_a_driver_reserves_no_more_memory_than_a_node_has(
    monkeypatch: pytest.MonkeyPatch, has: list[float], reserved: float
) -> None:
    nodes = [{"Alive": True, "Resources": {"memory": memory} if memory else {}} for memory in has]
    monkeypatch.setattr("ray.nodes", lambda: [*nodes, {"Alive": False, "Resources": {"memory": 1e12}}])
    assert driver_memory() == reserved


def test_what_ray_prints_at_its_end_stays_out_of_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ray holds lines that it has seen twice back until it shuts down, and prints them to stdout then."""
    monkeypatch.setattr("ray.init", lambda **_: sys.stdout.write("started\n"))
    monkeypatch.setattr("ray._private.worker._global_node", Mock(all_processes={}))
    monkeypatch.setattr("ray.shutdown", lambda: sys.stdout.write("held back\n"))
    with ray_session(1):
        sys.stdout.write("in between\n")
    sys.stdout.write("the result\n")
    captured = capsys.readouterr()
    assert captured.out == "the result\n"
    assert captured.err.split("\n")[:3] == ["started", "in between", "held back"]
