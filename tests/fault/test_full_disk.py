"""A disk that fills up while a training set is built: told, nothing that looks whole, and a second run goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtl_ray.data.building import inputs as inputs_module
from mtl_ray.data.snapshot import build_training_set
from mtl_ray.errors import StorageError
from tests.unit.data.test_snapshot import TASKS, Shop, checksums, visible


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 kB, less than half of what the build needs."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_told_and_the_build_goes_on_when_there_is_room(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path / "shop")
    whole = shop.build(tmp_path / "elsewhere")
    monkeypatch.setattr(inputs_module, "MOST_BUCKET_ROWS", 100)
    with pytest.raises(StorageError, match=r"disk is full[\s\S]*goes on from there"):
        shop.build(small_disk)
    sets = small_disk / "training_sets"
    assert visible(sets) == []
    done = {record: record.stat().st_mtime_ns for record in sets.glob(".building/*/buckets/*/bucket.json")}
    assert 0 < len(done) < 10
    assert not list(sets.glob(".building/*/buckets/.*"))  # the bucket that did not fit takes no room
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    said: list[str] = []
    arguments = (str(small_disk), shop.features, shop.config(), TASKS, "user_id", said.append)
    again = build_training_set(*arguments)
    assert any(f"{len(done)} of 10 buckets are done" in line for line in said)
    assert checksums(again) == checksums(whole)
    assert visible(sets) == [again.path]
