"""A choice without settings may be written as its bare name."""

from __future__ import annotations

from typing import Any

from pydantic import BeforeValidator


def _by_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


BY_NAME = BeforeValidator(_by_name)
"""`numeric: plain` is `numeric: {name: plain}`. Stands behind the discriminator of a union."""
