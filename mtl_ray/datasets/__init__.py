"""Raw event logs into Feast-ready feature tables and a spine; one module a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtl_ray.datasets.ecommerce import prepare_ecommerce
from mtl_ray.datasets.kuairand import prepare_kuairand
from mtl_ray.errors import ConfigError, nearest

__all__ = ["DATASETS", "prepare"]

DATASETS: dict[str, Callable[..., dict[str, Any]]] = {
    "ecommerce": prepare_ecommerce,
    "kuairand": prepare_kuairand,
}
"""Name -> `prepare(out, raw, **options)`, which writes the data set and returns its summary."""


def prepare(dataset: str, out: Path, raw: Path | None = None, **options: Any) -> dict[str, Any]:
    """Writes the data set to the folder `out` and returns what `dataset.json` holds.

    `raw` is the folder of the raw files, for data sets that have some. ConfigError for an unknown data set or option,
    DataError for raw files that cannot be used, StorageError for a path that cannot be written; then `out` is left
    as it was.
    """
    if dataset not in DATASETS:
        guess = nearest(dataset, DATASETS)
        raise ConfigError(
            "there is no such data set",
            where="dataset",
            found=repr(dataset),
            allowed=", ".join(sorted(DATASETS)),
            fix=f"did you mean {guess}?" if guess else None,
        )
    return DATASETS[dataset](Path(out), None if raw is None else Path(raw), **options)
