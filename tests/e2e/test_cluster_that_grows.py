"""On a cluster that scales itself, what its autoscaler has no nodes for is refused before any worker starts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ray_head import RayHead, ray_head

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def head(shop: Any) -> Iterator[RayHead]:
    """With Ray's own autoscaler, which has no more nodes to give here."""
    environment = {"RAY_enable_autoscaler_v2": "1", "ECOMMERCE_DATA": shop.environment["ECOMMERCE_DATA"]}
    with ray_head(num_cpus=2, environment=environment) as head:
        yield head


@pytest.mark.slow
def test_more_workers_than_it_can_ever_have(head: RayHead, shop: Any, tmp_path: Path) -> None:
    training = {**shop.config["training"], "workers": 64}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**shop.config, "training": training}, sort_keys=False))
    command = [sys.executable, str(ROOT / "jobs" / "submit.py"), "--", "python", "-m", "jobs.train"]
    done = subprocess.run(
        [*command, "--config", str(path)], cwd=ROOT, env=head.environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "no room for so many workers, and cannot grow for them" in done.stdout
    assert "64 workers of 1 CPUs: its autoscaler has no nodes for them" in done.stdout
    assert "training.workers" in done.stdout
