"""Which of Ray Train's actors a training does without."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer

from mtl_ray.training import frugal_trainer
from mtl_ray.training.frugal_trainer import FrugalTrainer

DATASETS, CLEANER = "DatasetsCallback", "PlacementGroupCleanerCallback"


def callbacks(kind: type[TorchTrainer]) -> list[str]:
    trainer = kind(lambda: None, scaling_config=ScalingConfig(num_workers=2))
    return [type(callback).__name__ for callback in trainer._create_default_callbacks()]


@pytest.mark.parametrize(("local", "left_out"), [(True, {DATASETS, CLEANER}), (False, {DATASETS})])
def test_only_actors_without_a_use_are_left_out(
    monkeypatch: pytest.MonkeyPatch, local: bool, left_out: set[str]
) -> None:
    monkeypatch.setattr(frugal_trainer, "is_local", lambda: local)
    ray_trains = callbacks(TorchTrainer)
    assert left_out <= set(ray_trains), "Ray Train has other callbacks now"
    assert callbacks(FrugalTrainer) == [name for name in ray_trains if name not in left_out] + ["EndOfController"]


HANGING = """
import ctypes
from mtl_ray.training.frugal_trainer import EndOfController
libc = ctypes.CDLL(None)
libc.__cxa_atexit(libc.pause, None, None)
EndOfController().after_controller_start(None)
"""


def test_a_controller_ends_though_its_destructors_hang() -> None:
    subprocess.run([sys.executable, "-c", HANGING], check=True, timeout=120)
