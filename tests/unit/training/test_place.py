"""Where a checkpoint is written, and how it comes to its name."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray.train

from mtl_ray.training.place import SAVING, RayTrainPlace


def test_a_checkpoint_is_written_beside_the_others_and_keeps_its_bytes_in_place(tmp_path: Path) -> None:
    place = RayTrainPlace(None, str(tmp_path / "checkpoints"), [])
    with place.saving() as folder:
        assert (tmp_path / "checkpoints") in folder.parents
        (folder / "model").write_bytes(b"weights")
        before = (folder / "model").stat()
        kept = place._moved(ray.train.Checkpoint.from_directory(str(folder)), "checkpoint_1")
    after = (tmp_path / "checkpoints" / "checkpoint_1" / "model").stat()
    assert kept.path == str(tmp_path / "checkpoints" / "checkpoint_1")
    assert (after.st_ino, after.st_size) == (before.st_ino, 7)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["checkpoint_1"]


def test_others_can_read_what_is_kept(tmp_path: Path) -> None:
    (ordinary := tmp_path / "ordinary").mkdir()
    with RayTrainPlace(None, str(tmp_path), []).saving() as folder:
        assert folder.stat().st_mode == ordinary.stat().st_mode


def test_what_a_lost_process_began_is_removed_before_the_next(tmp_path: Path) -> None:
    lost = tmp_path / f"{SAVING}lost" / "checkpoint"
    lost.mkdir(parents=True)
    (lost / "model").write_bytes(b"half")
    (tmp_path / "checkpoint_1").mkdir()
    with RayTrainPlace(None, str(tmp_path), []).saving():
        assert not lost.exists()
        assert (tmp_path / "checkpoint_1").is_dir()


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk"), RayTrainPlace(None, str(tmp_path), []).saving():
        raise OSError("disk")
    assert not list(tmp_path.iterdir())
