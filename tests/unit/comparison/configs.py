"""A config of two tasks, one of which is observed when the other is."""

from __future__ import annotations

from typing import Any

from mtl_ray.config import Config, parse_config


def config(name: str = "both", **changes: Any) -> Config:
    tree: dict[str, Any] = {
        "name": name,
        "features": {"repo": "repo", "service": "ranking_v1", "keys": ["user_id"]},
        "training_set": {"spine": "spine", "split": {"by": "time", "validation": 0.1, "test": 0.1}},
        "tasks": {
            "click": {"type": "binary"},
            "value": {
                "type": "regression",
                "transform": "log1p",
                "observed_when": "click",
                "given": "click",
                "label": "amount",
                "weight": 0.3,
            },
        },
        "model": {"name": "ple", "levels": [[32, 16], [8]], "tower": [4], "dropout": 0.1, "activation": "gelu"},
        "training": {
            "epochs": 2,
            "frozen": ["sharing"],
            "early_stopping": {"metric": "validation/click/roc_auc", "patience": 1},
        },
        "evaluation": {"group_by": "user_id", "truth": "truth"},
    }
    return parse_config({**tree, **changes})
