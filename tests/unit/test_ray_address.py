"""What stands at RAY_ADDRESS is asked before Ray tries to join it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from mtl_ray import ray_address
from mtl_ray.errors import ClusterError
from tests.ray_head import free_ports


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_address, "PATIENCE", 1.0)


@pytest.fixture
def web_server() -> Iterator[int]:
    """A server that is no Ray."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def refused(address: str) -> str:
    began = time.monotonic()
    # Not through ray_session: where another test of this process has begun Ray, that is what it takes.
    with pytest.raises(ClusterError) as caught:
        ray_address.check_answers(address)
    assert time.monotonic() - began < 30
    return str(caught.value)


def test_nothing_answers() -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    told = refused(address)
    assert "No Ray cluster answers at this address." in told
    assert address in told
    assert "unset it to compute on this machine" in told


def test_something_else_answers(web_server: int) -> None:
    assert "No Ray cluster answers at this address." in refused(f"127.0.0.1:{web_server}")


def test_the_address_of_the_dashboard() -> None:
    told = refused("http://127.0.0.1:8265")
    assert "submit the command with jobs/submit.py" in told
