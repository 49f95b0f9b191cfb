"""What travels with a job: sources, and neither data nor environments; never more than Ray takes."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from mtl_ray.errors import ConfigError
from mtl_ray.submission.package import pack


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A working directory as users have them."""
    folder = tmp_path / "project"
    for name, text in {
        "jobs/train.py": "train",
        "jobs/__pycache__/train.pyc": "compiled",
        "package/data/reader.py": "a package may be called data",
        "package/notes.txt": "not needed",
        "package/.rayignore": "*.txt\n",
        "feature_repo/data/registry.db": "registry",
        "config.yaml": "name: x",
        ".gitignore": "feature_repo/data/\n!/runs/\n",
        ".git/objects/1": "history",
        ".venv/bin/python": "interpreter",
        "data/spine/part.parquet": "rows",
        "runs/one/summary.json": "{}",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_sources_travel_alone(project: Path, tmp_path: Path) -> None:
    package = pack(project, tmp_path / "package.zip")
    with zipfile.ZipFile(package.file) as archive:
        names = archive.namelist()
        assert archive.read("jobs/train.py") == b"train"
    assert names == [
        ".gitignore",
        "config.yaml",
        "jobs/train.py",
        "package/.rayignore",
        "package/data/reader.py",
    ]
    assert package.files == 5
    assert package.left_out == (".git", ".venv", "data", "feature_repo", "runs")


def test_equal_contents_give_equal_packages(project: Path, tmp_path: Path) -> None:
    first = pack(project, tmp_path / "first.zip").file.read_bytes()
    os.utime(project / "config.yaml", (0, 0))
    assert pack(project, tmp_path / "second.zip").file.read_bytes() == first
    (project / "config.yaml").write_text("name: y")
    assert pack(project, tmp_path / "third.zip").file.read_bytes() != first


def test_too_large(project: Path, tmp_path: Path) -> None:
    (project / "weights").mkdir()
    (project / "weights" / "large.bin").write_bytes(os.urandom(3 * 1024**2))
    with pytest.raises(ConfigError, match="too large to be sent") as caught:
        pack(project, tmp_path / "package.zip", limit=2 * 1024**2)
    message = str(caught.value)
    assert "weights/large.bin 3.0 MiB" in message
    assert ".rayignore" in message
    (project / ".rayignore").write_text("weights/\n")
    assert pack(project, tmp_path / "package.zip", limit=2 * 1024**2).files == 6


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such working directory"):
        pack(tmp_path / "absent", tmp_path / "package.zip")
