"""The config of a project, as YAML."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import yaml

from mtl_ray.scaffold.labels import skewness
from mtl_ray.scaffold.project import Project

_STEPS_AN_EPOCH = 32
_STEPS = 500
"""Steps that a training of a small table should have at least."""

_SKEWED = 2.0


def config_text(project: Project, folder: str) -> str:
    """`config.yaml` of a project in `folder`, a path as the jobs are to read it."""
    tree = config_tree(project, folder)
    lines = [
        f"# Written for a table of {project.rows:,} rows; every value may be changed, and the README of mtl-ray tells",
        "# what there is to choose from.",
    ]
    for key, value in tree.items():
        if key == "tasks":
            lines.append("tasks:")
            lines += [f"  {_flow({name: task})}" for name, task in value.items()]
        elif isinstance(value, dict):
            lines.append(f"{key}:")
            lines += [f"  {_flow({name: node})}" for name, node in value.items()]
        else:
            lines.append(_flow({key: value}))
    return "\n".join(lines) + "\n"


def config_tree(project: Project, folder: str) -> dict[str, Any]:
    """The same as a nested dict."""
    features: dict[str, Any] = {"repo": f"{folder}/feature_repo", "service": project.service}
    if project.keys:
        features["keys"] = list(project.keys)
    context = {column.name: column.encoding for column in project.context if column.used}
    if context:
        features["context"] = context
    split: dict[str, Any] = {"by": "time", "validation": 0.1, "test": 0.1}
    if not project.timed:
        split = {"by": "random", "validation": 0.1, "test": 0.1, "seed": 0}
    tree: dict[str, Any] = {
        "name": project.name,
        "storage": f"{folder}/runs",
        "seed": 0,
        "features": features,
        "training_set": {
            "spine": f"{folder}/data/spine",
            "split": split,
            "preprocessing": _preprocessing(project),
        },
        "tasks": {label.name: label.task for label in project.labels},
        "model": _model(project),
        "training": _training(project),
    }
    if project.group_by is not None:
        tree["evaluation"] = {"group_by": project.group_by}
    return tree


def _preprocessing(project: Project) -> dict[str, Any]:
    """A value that is seen once in a small table is no category. Long tails want ranks, which need rows to be known."""
    tails = []
    for column in project.inputs:
        numbers = column.values.numbers() if column.encoding == "numeric" else None
        if numbers is not None:
            present = numbers[~np.isnan(numbers)]
            tails.append(abs(skewness(present)) > _SKEWED)
    numeric = "standard"
    if any(tails):
        numeric = "quantile" if project.rows >= 1000 else "log_standard"
    min_count = 2 if project.rows < 10_000 else 3 if project.rows < 100_000 else 5
    return {"numeric": numeric, "min_count": min_count, "missing_indicators": True}


def _model(project: Project) -> dict[str, Any]:
    """Small tables get small networks and more dropout."""
    width, dim, dropout = (64, 4, 0.2) if project.rows < 20_000 else (128, 8, 0.1)
    if project.rows >= 1_000_000:
        dim, dropout = 16, 0.0
    encoder = {"embedding_dim": dim}
    sizes = {"tower": [32], "dropout": dropout, "encoder": encoder}
    if len(project.labels) == 1:
        return {"name": "shared_bottom", "bottom": [width, width // 2], **sizes}
    return {"name": "mmoe", "num_experts": 4, "expert": [width, width // 2], **sizes}


def _training(project: Project) -> dict[str, Any]:
    """Batches so small that an epoch has some thirty steps, and epochs for 500 steps in all; large tables get the
    usual batch of 4096 and three epochs. One worker is enough where two would wait for each other."""
    rows = math.ceil(0.8 * project.rows)
    batch = 2 ** round(math.log2(max(rows / _STEPS_AN_EPOCH, 1.0)))
    batch = min(max(batch, 16), 4096)
    epochs = min(max(math.ceil(_STEPS / math.ceil(rows / batch)), 3), 30)
    return {
        "epochs": epochs,
        "global_batch_size": batch,
        "workers": 1 if project.rows < 20_000 else 2,
        "optimizer": {"learning_rate": 0.002, "weight_decay": 0.01},
        "early_stopping": {"metric": "validation/loss", "patience": max(2, epochs // 4)},
    }


def _flow(node: Any) -> str:
    """One line of YAML: the outermost mapping open, everything inside in braces and brackets."""
    (key, value), *_ = node.items()
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6).strip().removesuffix("...")
    return f"{key}: {text.strip()}"
