"""Column names that Feast, DuckDB and a training set can all carry."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

RESERVED = frozenset(
    {
        "categorical",
        "created_timestamp",
        "event_timestamp",
        "labels",
        "loss",
        "numeric",
        "observed",
        "row_id",
        "sample_weight",
    }
)
"""Names of a spine's and a shard's own columns."""


def safe_name(name: str, fallback: str = "column") -> str:
    """`name` in lower case, of letters, digits and single underscores, starting with a letter and not reserved.

    It does not end in `_y` (Feast's duckdb store drops such a feature) nor begin with `list_` (a shard's list).
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    # orderValue -> order_value; URL and ID3 stay together.
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", plain)
    safe = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_") or fallback
    if not safe[0].isalpha():
        safe = f"c_{safe}"
    if safe in RESERVED or safe.endswith("_y"):
        safe = f"{safe}_value"
    return f"{safe}_value" if safe.startswith("list_") else safe


def unique_name(name: str, taken: set[str]) -> str:
    """`name`, or `name_2`, `name_3`, …: the first that is not in `taken`, which it joins."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found


def safe_names(names: Iterable[str], taken: set[str]) -> dict[str, str]:
    """Each of `names` -> its safe and unique form; `taken` grows by those."""
    return {name: unique_name(safe_name(name, f"column_{i}"), taken) for i, name in enumerate(names, start=1)}
