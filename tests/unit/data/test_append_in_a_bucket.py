"""Newer rows on top of a training set in an object store, a real S3 server, on a machine that has nothing of it yet."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mtl_ray import storage
from mtl_ray.data.snapshot import Snapshot, build_training_set, open_snapshot
from tests.s3_server import S3Server, s3_server
from tests.tiny_shop import at
from tests.unit.data.test_append import NEW, OLD, Growing
from tests.unit.data.test_snapshot import TASKS


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


def test_newer_rows_in_a_bucket(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**server.environment, storage.CACHE: str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    shop = Growing(tmp_path)
    place = "s3://bucket/shop"
    spine = f"{place}/spine"

    def built(rows: int, where: str = place, **options: Any) -> Snapshot:
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        shop.show(rows)
        storage.upload(tmp_path / "spine", spine)
        arguments = (where, shop.features, shop.config(spine=spine), TASKS, "user_id", None)
        return build_training_set(*arguments, **options)

    first = built(OLD)
    assert first.place.startswith(f"{place}/training_sets/tiny_v1-")
    grown = built(OLD + NEW, since=at(OLD))
    assert grown.manifest.appended is not None
    assert grown.manifest.appended.base == first.manifest.id
    assert grown.manifest.rows == {"train": OLD + 210, "validation": 30, "test": 60}
    assert open_snapshot(grown.place, verify=True).manifest == grown.manifest
    assert open_snapshot(first.place, verify=True).manifest == first.manifest, "the base is not as it was"

    named = built(OLD + NEW, since=at(OLD), base=first.place)
    assert (named.place, named.found) == (grown.place, True)
    newer = built(OLD + NEW, newer=True)
    assert (newer.place, newer.found) == (grown.place, True)
    # A base in the bucket for a set in a folder.
    local = built(OLD + NEW, str(tmp_path / "runs"), since=at(OLD), base=first.place)
    assert local.manifest.id == grown.manifest.id
    assert local.manifest.files == grown.manifest.files
    assert open_snapshot(local.path, verify=True).manifest.rows == grown.manifest.rows
