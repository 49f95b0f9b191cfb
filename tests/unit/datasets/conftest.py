"""A small simulated shop, once in memory and once on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtl_ray.datasets.ecommerce import prepare_ecommerce
from mtl_ray.datasets.ecommerce.options import parse_options
from mtl_ray.datasets.ecommerce.simulation import Shop, simulate

SMALL = {"num_users": 120, "num_items": 60, "num_days": 10, "num_impressions": 8000, "seed": 3}


@pytest.fixture(scope="session")
def shop() -> Shop:
    return simulate(parse_options(SMALL))


@pytest.fixture(scope="session")
def ecommerce(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the data set that `shop` makes."""
    folder = tmp_path_factory.mktemp("data") / "ecommerce"
    prepare_ecommerce(folder, **SMALL)
    return folder
