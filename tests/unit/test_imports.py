"""What processes import that there are many of."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = {"matplotlib", "jinja2", "scipy", "sklearn", "statsmodels"}


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        ("mtl_ray.data.stream", SLOW | {"torch"}),
        ("mtl_ray.training.progress", SLOW | {"torch", "pandas"}),
        ("mtl_ray.training.worker", SLOW),
        ("mtl_ray.tuning.one_worker", SLOW),
        ("mtl_ray.tuning.several_workers", SLOW),
    ],
)
def test_workers_do_not_wait_for_what_only_the_driver_needs(module: str, spared: set[str]) -> None:
    script = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert spared & set(done.stdout.split()) == set()
