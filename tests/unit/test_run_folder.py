"""Run folders: where they may be, and what a wrong path says."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtl_ray.data.staging import writable_folder
from mtl_ray.errors import CheckpointError, StorageError
from mtl_ray.run_folder import RunFolder, mark_latest, write_json


def test_storage_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written") as caught:
        writable_folder(str(tmp_path / "file" / "runs"))
    assert str(tmp_path / "file" / "runs") in str(caught.value)
    assert "storage=PATH" in str(caught.value)


def test_storage_that_refuses_files() -> None:
    # /proc takes no files, from root either.
    with pytest.raises(StorageError, match="cannot be written"):
        writable_folder("/proc/runs")


def test_storage_is_made(tmp_path: Path) -> None:
    assert writable_folder(f"file://{tmp_path}/a/b") == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
    assert not list((tmp_path / "a" / "b").iterdir())


def test_no_run_here(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no run") as caught:
        RunFolder.open(tmp_path / "absent")
    assert "no such folder" in str(caught.value)


def test_an_unfinished_run(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: x\n")
    with pytest.raises(CheckpointError, match="has not finished"):
        RunFolder.open(tmp_path).checkpoint()
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(CheckpointError, match="summary is damaged"):
        RunFolder.open(tmp_path).checkpoint()


def test_checkpoint_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: x\n")
    (tmp_path / "checkpoints" / "checkpoint_7").mkdir(parents=True)
    write_json(tmp_path / "summary.json", {"checkpoints": {"best": "checkpoint_7", "last": "checkpoint_7"}})
    run = RunFolder.open(tmp_path)
    assert run.checkpoint("best") == run.checkpoint("checkpoint_7") == tmp_path / "checkpoints" / "checkpoint_7"
    with pytest.raises(CheckpointError, match="no such checkpoint") as caught:
        run.checkpoint("checkpoint_8")
    assert "checkpoint_7" in str(caught.value)


def test_latest_points_to_the_newest(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        mark_latest(RunFolder(tmp_path / name))
    assert (tmp_path / "latest").resolve() == (tmp_path / "second").resolve()
