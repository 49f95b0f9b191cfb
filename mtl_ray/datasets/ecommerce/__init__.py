"""A seeded simulator of a shop: nothing to download, and the true probabilities are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mtl_ray.datasets.ecommerce.history import History
from mtl_ray.datasets.ecommerce.interaction_tables import user_item_daily
from mtl_ray.datasets.ecommerce.item_tables import item_daily, item_profile
from mtl_ray.datasets.ecommerce.options import EcommerceOptions, parse_options
from mtl_ray.datasets.ecommerce.simulation import simulate
from mtl_ray.datasets.ecommerce.spine import spine, summarise, truth
from mtl_ray.datasets.ecommerce.user_tables import user_daily, user_profile
from mtl_ray.datasets.tables import staged, write_summary, write_table
from mtl_ray.errors import ConfigError

__all__ = ["EcommerceOptions", "prepare_ecommerce"]


def prepare_ecommerce(out: Path, raw: Path | None = None, **options: Any) -> dict[str, Any]:
    """Simulates a shop and writes its feature tables, spine, truth and `dataset.json` to `out`.

    `options` are the fields of `EcommerceOptions`; the same options give byte-identical files. Returns the summary.
    ConfigError for an option that cannot be used, StorageError for a path that cannot be written.
    """
    if raw is not None:
        raise ConfigError("the ecommerce data set is simulated and reads no raw files", where="raw", found=str(raw))
    parsed = parse_options(options)
    with staged(out) as folder:
        shop = simulate(parsed)
        history = History(shop)
        tables = {
            "user_profile": user_profile(shop),
            "user_daily": user_daily(history),
            "item_profile": item_profile(shop),
            "item_daily": item_daily(history),
            "user_item_daily": user_item_daily(history),
        }
        for name, table in tables.items():
            write_table(table, folder / "features" / f"{name}.parquet")
        write_table(spine(shop), folder / "spine" / "part-0.parquet")
        write_table(truth(shop), folder / "truth" / "part-0.parquet")
        summary = {
            "dataset": "ecommerce",
            "parameters": parsed.model_dump(),
            **summarise(shop),
            "feature_rows": {name: table.num_rows for name, table in tables.items()},
        }
        write_summary(summary, folder)
    return summary
