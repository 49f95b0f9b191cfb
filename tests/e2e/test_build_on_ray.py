"""A training set built by Ray's workers is the one that this process builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtl_ray.data.building import inputs
from mtl_ray.data.snapshot import build_training_set
from tests.unit.data.test_snapshot import TASKS, Shop, checksums


@pytest.mark.usefixtures("ray_cluster")
def test_the_place_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MOST_BUCKET_ROWS", 350)  # every process more imports Feast once more
    shop, said = Shop(tmp_path), list[str]()
    local = shop.build(tmp_path / "local", runs_on="local", rows_per_shard=700)
    unfinished = tmp_path / "ray" / "training_sets" / ".building" / local.path.name / "set" / "train"
    unfinished.mkdir(parents=True)
    (unfinished / ".part-00000.parquet.1").write_bytes(b"left by a node that was lost")

    config = shop.config(runs_on="ray", rows_per_shard=700)
    on_ray = build_training_set(str(tmp_path / "ray"), shop.features, config, TASKS, "user_id", said.append)
    assert "building on Ray" in said  # on the one that is connected
    assert any("in 3 buckets" in sentence for sentence in said)
    assert on_ray.manifest.id == local.manifest.id
    assert checksums(on_ray) == checksums(local)
    for part in ("preprocessing", "label_statistics", "label_rates", "rows", "files", "missing", "quarantined"):
        assert getattr(on_ray.manifest, part) == getattr(local.manifest, part)
    assert not list(on_ray.path.rglob(".*"))
