"""The fixture of the contract's tests."""

from __future__ import annotations

import pytest

from tests.unit.data.contract.joined_shop import Bucket, bucket


@pytest.fixture
def shop() -> Bucket:
    """600 healthy joined rows."""
    return bucket()
