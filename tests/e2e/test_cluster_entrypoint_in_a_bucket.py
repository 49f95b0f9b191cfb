"""The tuning job of the overlay prod, as it stands there, with everything in a bucket: its head is lost, and the next
attempt, on a cluster of its own, goes on with the search."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from mtl_ray import storage
from tests.k8s.container import apply, container_of, small_search
from tests.k8s.objects import K8S, ray_jobs, render
from tests.ray_head import ray_head
from tests.s3_server import client, s3_server

SEARCHES = "s3://mtl-ray/runs/searches"
SECONDS = 600
"""Longer than a busy machine takes for anything here."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed: it renders the manifests"),
]


def test_a_second_attempt_repeats_nothing(shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = render(K8S / "overlays" / "prod")
    (entrypoint,) = (job["entrypoint"] for where, _, job in ray_jobs(objects) if where == "RayJob/tune")
    command = f"{small_search(entrypoint)} training.epochs=12 training.precision=fp32"
    with s3_server() as server:
        client(server).create_bucket(Bucket="mtl-ray")
        for name, value in {**server.environment, storage.CACHE: str(tmp_path / "cache")}.items():
            monkeypatch.setenv(name, value)
        storage.upload(shop.root / "data", "s3://mtl-ray/data/ecommerce")
        container = container_of(objects, tmp_path / "container", {})

        with ray_head(num_cpus=4, environment=server.environment) as head:
            first = container.on(head, server.environment, tmp_path / "first")
            apply(objects, first)
            with first.start(command) as driver:
                try:
                    deadline = time.monotonic() + SECONDS
                    while not written_down(1):
                        assert driver.poll() is None, driver.communicate()
                        assert time.monotonic() < deadline, "the second trial is not written down"
                        time.sleep(0.5)
                finally:
                    for process in [*psutil.Process(driver.pid).children(recursive=True), driver]:
                        process.kill()
            before = results(0)
        with ray_head(num_cpus=4, environment=server.environment) as head:
            done = container.on(head, server.environment, tmp_path / "second").run(command)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert f"going on with {found['run']}" in done.stderr
        assert found["run"].startswith(SEARCHES)
        assert (found["trials"], found["failures"]) == (2, 0)
        assert len({name.split("/")[0] for name in storage.sizes(SEARCHES)}) == 1
        assert results(0)[: len(before)] == before
        for trial in (0, 1):
            assert [line["epoch"] for line in results(trial)].count(1) == 1, "it began again from nothing"


def written_down(trial: int) -> bool:
    """Whether the state that Tune keeps has the trial; without, it begins again."""
    states = [name for name in storage.sizes(SEARCHES) if "/experiment_state-" in name]
    return any(f"trial-{trial}-".encode() in storage.read_bytes(storage.below(SEARCHES, name)) for name in states)


def results(trial: int) -> list[dict[str, Any]]:
    """What Tune has logged of a trial's epochs."""
    files = [name for name in storage.sizes(SEARCHES) if f"/trial-{trial}-" in name and name.endswith("/result.json")]
    assert len(files) < 2, files
    lines = [line for name in files for line in storage.read_bytes(storage.below(SEARCHES, name)).splitlines()]
    return [json.loads(line) for line in lines]
