"""Training sets from offline stores that run their own join: a warehouse that exports to remote storage, and Feast's
duckdb store. Both must end in the very shards that this package's own join gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtl_ray.data.feature_store import OURS, FeaturesConfig
from mtl_ray.data.snapshot import Snapshot, build_training_set
from mtl_ray.errors import FeatureStoreError
from tests.tiny_shop import SETTINGS, apply_repo, definitions
from tests.unit.data.test_snapshot import TASKS, Shop, checksums
from tests.warehouse import EXPORTS, LOSES

WAREHOUSE = "tests.warehouse.WarehouseOfflineStore"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="module")
def ours(shop: Shop) -> Snapshot:
    return shop.build(shop.root / "ours")


def build(shop: Shop, kind: str, root: Path) -> Snapshot:
    settings = SETTINGS.replace(OURS, kind)
    apply_repo(root / "repo", definitions(shop.root / "data"), settings)
    features = FeaturesConfig(**{**shop.features.model_dump(), "repo": str(root / "repo")})
    return build_training_set(str(root / "runs"), features, shop.config(), TASKS, "user_id")


@pytest.mark.parametrize("kind", ["duckdb", WAREHOUSE])
def test_shards_are_those_of_our_own_join(shop: Shop, ours: Snapshot, tmp_path: Path, kind: str) -> None:
    (tmp_path / "export").mkdir()
    EXPORTS.append(tmp_path / "export")
    other = build(shop, kind, tmp_path)
    assert checksums(other) == checksums(ours)
    assert bool(list((tmp_path / "export").iterdir())) == (kind != "duckdb")


def test_rows_that_a_store_loses_are_missed(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    EXPORTS.append(tmp_path / "export")
    LOSES.append(3)
    try:
        with pytest.raises(FeatureStoreError, match=r"other rows than the spine has[\s\S]*997 rows for 1000"):
            build(shop, WAREHOUSE, tmp_path)
    finally:
        LOSES.pop()
