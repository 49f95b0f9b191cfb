"""One hash of everything that a feature service is made of in a Feast registry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

VOLATILE_KEYS = frozenset(
    {
        "meta",
        "createdTimestamp",
        "lastUpdatedTimestamp",
        "materializationIntervals",
        "description",
        "owner",
        "org",
    }
)
"""Parts of a spec that change without changing a feature: `feast apply` and `feast materialize` rewrite the times,
and texts for people are edited freely."""

LOCATION_KEYS = frozenset({"uri", "dataSourceClassType"})
"""Where a source lies is no part of what it is: its content has a fingerprint of its own, so that a moved checkout
finds its training set again."""

COLUMN_MAPS = frozenset({"fieldMapping", "joinKeyMap"})
"""Maps whose keys are names of columns, which may be called like anything above."""


def canonical(value: Any) -> Any:
    """`value` (a protobuf message as JSON types) without volatile keys, on-demand code as its source text.

    Feast 0.67 rebuilds an on-demand function from `bodyText` and takes that text as its identity; `body` is the
    same function pickled, whose bytes may differ between two `feast apply` of one text.
    """
    if isinstance(value, dict):
        kept = {
            key: item if key in COLUMN_MAPS else canonical(item)
            for key, item in value.items()
            if key not in VOLATILE_KEYS | LOCATION_KEYS
        }
        if kept.get("bodyText"):
            kept.pop("body", None)
        return kept
    if isinstance(value, list):
        return [canonical(item) for item in value]
    return value


def registry_hash(objects: Iterable[Any]) -> str:
    """Hexadecimal SHA-256 of Feast objects (service, views, entities, sources), in any order, each once."""
    from google.protobuf.json_format import MessageToDict

    specs = set()
    for item in objects:
        document = canonical(MessageToDict(item.to_proto()))
        specs.add(json.dumps([type(item).__name__, document], sort_keys=True))
    return hashlib.sha256("\n".join(sorted(specs)).encode()).hexdigest()
