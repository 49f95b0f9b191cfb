"""Run folders with plausible content, evaluated by the real evaluation from simulated predictions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from pydantic import TypeAdapter

from mtl_ray.data.labels import LabelRate
from mtl_ray.data.manifest import Manifest, SpineRecord
from mtl_ray.data.preprocessing import PreprocessingConfig, fit
from mtl_ray.data.service_spec import FeatureSpec, ServiceSpec
from mtl_ray.data.splits import SplitBoundaries, TimeSplitConfig
from mtl_ray.evaluation.results import EvaluationResult, MetricValue, ScoreResult, write_result
from mtl_ray.evaluation.summarise import summarise
from mtl_ray.fusion import Fusion
from mtl_ray.schema import BatchSchema, LabelStatistics, ListFeature
from mtl_ray.tasks import TaskConfig

CREATED = datetime(2026, 11, 22, 9, 41, tzinfo=UTC)
SHOP = {
    "click": {"type": "binary", "weight": 1.0, "threshold": 0.5},
    "purchase": {"type": "binary", "weight": 1.0, "threshold": 0.5},
    "rating": {"type": "multiclass", "classes": [1, 2, 3, 4, 5], "weight": 1.0},
    "order_value": {"type": "regression", "transform": "log1p", "observed_when": "purchase", "weight": 0.5},
}
FEATURES: list[tuple[str, Any, str | None, Any, str | None, float]] = [
    ("user_id", "key", None, "categorical", "user_id", 0.0),
    ("item_id", "key", None, "categorical", "item_id", 0.0),
    ("user_country", "view", "user_profile", "categorical", "user_country", 0.021),
    ("user_clicks_7d", "view", "user_activity", "numeric", None, 0.164),
    ("user_recent_items", "view", "user_activity", "list", "item_id", 0.164),
    ("item_category", "view", "item_profile", "categorical", "item_category", 0.004),
    ("item_price", "view", "item_profile", "numeric", None, 0.004),
    ("item_click_rate_7d", "view", "item_statistics", "numeric", None, 0.087),
    ("user_item_views_30d", "view", "interactions", "numeric", None, 0.713),
    ("price_against_usual", "on_demand", "price_features", "numeric", None, 0.17),
]
RATES = {"click": 0.22, "purchase": 0.03}


@dataclass(frozen=True)
class RunOptions:
    """What the folder shall hold."""

    tasks: Mapping[str, Mapping[str, Any]]
    rows: int = 3000
    epochs: int = 4
    best: int = 3
    evaluated: bool = True
    unobserved: tuple[str, ...] = ()
    truth: bool = True
    replicates: int = 20
    name: str = "ecommerce_mmoe"
    truncated: Mapping[str, int] = field(default_factory=dict)
    """List feature -> training rows that had more entries than are kept."""
    balanced: bool = False
    """Trained with uncertainty weights and PCGrad."""
    fusion: Fusion | None = None
    """Ranking score of the evaluated checkpoint."""


MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Builds `<tmp_path>/<name>-20261122-094100` from the fields of `RunOptions`; tasks default to a shop's."""

    def build(**options: Any) -> Path:
        return build_run(tmp_path, RunOptions(**{"tasks": SHOP, **options}))

    return build


def build_run(parent: Path, options: RunOptions) -> Path:
    """A run folder in `parent`; the same options give the same files."""
    folder = parent / f"{options.name}-{CREATED:%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config(options), sort_keys=False))
    write(folder / "environment.json", environment())
    write(folder / "training_set.json", manifest(options))
    write(folder / "summary.json", summary(options))
    lines = [json.dumps(line) for line in metrics(options)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    if options.evaluated:
        evaluate(folder, options)
    return folder


def write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=2))


def config(options: RunOptions) -> dict[str, Any]:
    return {
        "name": options.name,
        "storage": "runs",
        "seed": 0,
        "features": {"repo": "feature_repo", "service": "ranking_mtl_v1", "keys": ["user_id", "item_id"]},
        "training_set": {"spine": "data/ecommerce/spine", "split": {"by": "time", "validation": 0.1, "test": 0.1}},
        "tasks": {name: dict(task) for name, task in options.tasks.items()},
        "model": {"name": "mmoe", "num_experts": 8, "expert": [256, 128], "tower": [64], "dropout": 0.0},
        "weighting": {"name": "uncertainty" if options.balanced else "static"},
        "aggregation": {"name": "pcgrad" if options.balanced else "sum"},
        "training": {
            "epochs": options.epochs,
            "global_batch_size": 4096,
            "workers": 2,
            "precision": "fp32",
            "optimizer": {"name": "adamw", "learning_rate": 0.001},
            "early_stopping": {"metric": "validation/loss", "patience": 2},
        },
        "evaluation": {"group_by": "user_id", "truth": "data/ecommerce/truth", "confidence": 0.95},
    }


def environment() -> dict[str, Any]:
    return {
        "created": CREATED.isoformat(),
        "command": ["train.py", "--config", "jobs/configs/ecommerce.yaml"],
        "python": "3.11.9",
        "platform": "Linux-6.8-x86_64",
        "cpus": 2,
        "packages": {"mtl-ray": "0.1.0", "torch": "2.13.0", "ray": "2.60.0", "feast": "0.67.0"},
    }


def summary(options: RunOptions) -> dict[str, Any]:
    return {
        "epochs": options.epochs,
        "steps": 98 * options.epochs,
        "metric": "validation/loss",
        "best": 1.234,
        "best_epoch": options.best,
        "stopped_early": False,
        "training_set": "runs/training_sets/3f9c2a7be01d",
        "checkpoints": {"best": f"checkpoint_{options.best:06d}", "last": f"checkpoint_{options.epochs:06d}"},
    }


def metrics(options: RunOptions) -> list[dict[str, Any]]:
    """Falling losses with a slight rise of the validation loss after the best epoch."""
    generator = np.random.default_rng(7)
    steps_per_epoch, lines = 98, []
    names = list(options.tasks)
    levels = {name: 0.35 + 0.12 * (at % 5) for at, name in enumerate(names)}
    for epoch in range(1, options.epochs + 1):
        for within in range(5, steps_per_epoch + 1, 5):
            step = (epoch - 1) * steps_per_epoch + within
            progress = step / steps_per_epoch
            losses = {
                name: level * (1 + 0.5 * math.exp(-3 * progress) - 0.02 * progress) + 0.008 * generator.normal()
                for name, level in levels.items()
            }
            lines.append(
                {
                    "kind": "step",
                    "epoch": epoch,
                    "step": step,
                    "rows": within * 4096,
                    "seconds": round(0.16 * step, 2),
                    "samples_per_second": round(25000 + 1500 * generator.normal() - 9000 / within, 1),
                    "learning_rate": 0.001 * min(1, step / 40) * (1 - 0.8 * progress / options.epochs),
                    "train/loss": sum(losses.values()),
                    **{f"train/{name}/loss": loss for name, loss in losses.items()},
                    **balance(options, progress),
                }
            )
        lines.append(epoch_line(options, epoch, epoch * steps_per_epoch, levels))
    return lines


def balance(options: RunOptions, progress: float) -> dict[str, float]:
    """What a step line tells of weights and gradients."""
    names = list(options.tasks)
    steady = {f"train/{name}/weight": float(task.get("weight", 1.0)) for name, task in options.tasks.items()}
    if not options.balanced:
        return {**steady, "train/balance/step_seconds": 0.15}
    pairs = [(one, other) for one in range(len(names)) for other in range(one + 1, len(names))]
    wave = math.sin(9 * progress)
    return {
        **{key: weight * (1 + 0.2 * at * progress) for at, (key, weight) in enumerate(steady.items())},
        **{
            f"train/balance/cosine/{names[one]}/{names[other]}": 0.4 - 0.4 * (one + other) / len(names) + 0.05 * wave
            for one, other in pairs
        },
        **{f"train/balance/{name}/factor": 1 + 0.1 * at + 0.02 * wave for at, name in enumerate(names)},
        "train/balance/cosine_to_sum": 0.93 + 0.01 * wave,
        "train/balance/changed": 0.4 + 0.1 * wave,
        "train/balance/step_seconds": 0.15 + 0.01 * wave,
    }


def epoch_line(options: RunOptions, epoch: int, step: int, levels: Mapping[str, float]) -> dict[str, Any]:
    progress = 1 - math.exp(-1.1 * epoch)
    rise = 0.012 * max(0, epoch - options.best)
    train = {name: level * (1.1 - 0.14 * progress - 0.01 * epoch) for name, level in levels.items()}
    validation = {name: level * (1.1 - 0.14 * progress + rise) for name, level in levels.items()}
    values: dict[str, Any] = {}
    for name, task in options.tasks.items():
        prefix = f"validation/{name}/"
        observed = name not in options.unobserved
        if task["type"] == "binary":
            found = {
                "roc_auc": 0.62 + 0.17 * progress - 2 * rise / 5,
                "normalized_entropy": 0.98 - 0.14 * progress + rise,
            }
            found |= {"log_loss": validation[name], "ece": 0.011 - 0.004 * progress}
        elif task["type"] == "multiclass":
            found = {
                "accuracy": 0.36 + 0.11 * progress - rise,
                "log_loss": validation[name],
                "macro_f1": 0.2 + 0.1 * progress,
            }
        else:
            found = {"rmse": 48 - 9 * progress + 30 * rise, "r2": 0.05 + 0.3 * progress - rise}
        values |= {prefix + metric: value if observed else None for metric, value in found.items()}
    return {
        "kind": "epoch",
        "epoch": epoch,
        "step": step,
        "seconds": round(16.4 * epoch, 2),
        "train/loss": sum(train.values()),
        **{f"train/{name}/loss": value for name, value in train.items()},
        "validation/loss": sum(validation.values()),
        **{f"validation/{name}/loss": value for name, value in validation.items()},
        **values,
        "best": epoch <= options.best,
    }


def evaluate(folder: Path, options: RunOptions) -> None:
    """Simulates labels and predictions of the test part and writes their evaluation."""
    adapter: TypeAdapter[Any] = TypeAdapter(TaskConfig)
    generator = np.random.default_rng(11)
    tasks = {name: adapter.validate_python(dict(task)) for name, task in options.tasks.items()}
    columns: dict[str, Any] = {"user_id": generator.integers(0, options.rows // 12, options.rows)}
    statistics = {}
    for name, task in tasks.items():
        observed = np.full(options.rows, name not in options.unobserved)
        if task.type == "binary":
            rate = RATES.get(name, 0.1)
            label, prediction, truth = binary_rows(generator, options.rows, rate)
            statistics[name] = LabelStatistics(observed=40000, mean=rate)
            if options.truth:
                columns[f"{name}__truth"] = truth
        elif task.type == "multiclass":
            label, prediction = class_rows(generator, options.rows, len(task.classes))
            shares = np.bincount(label.astype(int), minlength=len(task.classes))
            statistics[name] = LabelStatistics(observed=40000, class_counts=tuple(int(8 * n) for n in shares))
        else:
            label, prediction = amount_rows(generator, options.rows)
            observed &= generator.random(options.rows) < 0.4
            log = np.log1p(label)
            statistics[name] = LabelStatistics(
                observed=16000,
                mean=float(label.mean()),
                transformed_mean=float(log.mean()),
                transformed_std=float(log.std()),
            )
        columns[f"{name}__label"] = np.where(observed, label, 0).astype(np.float32)
        columns[f"{name}__observed"] = observed
        columns[f"{name}__prediction"] = as_column(prediction)
    result = summarise(
        pa.table(columns),
        tasks,
        group_by="user_id",
        train_statistics=statistics,
        replicates=options.replicates,
        run=folder.name,
        checkpoint=f"checkpoints/checkpoint_{options.best:06d}",
        training_set="3f9c2a7be01d",
        created=CREATED,
    )
    if options.fusion is not None:
        result = result.model_copy(update={"score": score(options.fusion, result)})
    write_result(result, folder)


def score(fusion: Fusion, result: EvaluationResult) -> ScoreResult:
    """A little behind each binary task's own prediction."""
    metrics: dict[str, dict[str, MetricValue]] = {}
    for task in result.tasks:
        for metric in ("roc_auc", "gauc"):
            own = task.metrics.get(metric)
            if task.type == "binary" and own is not None and own.value is not None:
                value = own.value - 0.0125
                found = MetricValue(value=value, low=value - 0.011, high=value + 0.012, baseline=own.value)
                metrics.setdefault(task.task, {})[metric] = found
    return ScoreResult(fusion=fusion, metrics=metrics)


def as_column(prediction: np.ndarray) -> pa.Array:
    values = prediction.astype(np.float32)
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


def binary_rows(generator: np.random.Generator, rows: int, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    logit = math.log(rate / (1 - rate)) - 0.5 + 1.3 * generator.normal(size=rows)
    label = (generator.random(rows) < sigmoid(logit)).astype(float)
    return label, sigmoid(logit + 0.45 * generator.normal(size=rows)), sigmoid(logit)


def class_rows(generator: np.random.Generator, rows: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    taste = generator.normal(size=rows)
    centres = np.linspace(-2.2, 1.6, classes)
    logits = -((taste[:, None] - centres) ** 2) * 1.4 + 0.4 * np.arange(classes) / classes
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    label = (shares.cumsum(axis=1) < generator.random(rows)[:, None]).sum(axis=1).clip(max=classes - 1)
    noisy = np.exp(logits + 0.6 * generator.normal(size=logits.shape))
    return label.astype(float), noisy / noisy.sum(axis=1, keepdims=True)


def amount_rows(generator: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    level = 3.2 + 0.6 * generator.normal(size=rows)
    return np.expm1(level + 0.45 * generator.normal(size=rows)).clip(min=0.0), np.expm1(level).clip(min=0.0)


def manifest(options: RunOptions) -> dict[str, Any]:
    """The manifest of a training set, read back through its own type."""
    features = [
        FeatureSpec(name=name, source=source, view=view, encoding=encoding, vocabulary=vocabulary)
        for name, source, view, encoding, vocabulary, _ in FEATURES
    ]
    statistics, rates = {}, {}
    for name, task in options.tasks.items():
        mean = {"binary": RATES.get(name, 0.1), "regression": 41.3}.get(task["type"])
        shares = tuple(9000 + 4000 * at for at in range(len(task.get("classes", ()))))
        statistics[name] = LabelStatistics(observed=400_000, mean=mean, class_counts=shares or None)
        rates[name] = LabelRate(observed=400_000, mean=mean)
    document = Manifest(
        format_version=1,
        id="3f9c2a7be01d55aa",
        created=CREATED,
        versions={"feast": "0.67.0"},
        service=ServiceSpec(
            project="shop", service="ranking_mtl_v1", features=tuple(features), join_keys={"user_id": "Int64"}, views=()
        ),
        registry_hash="b41f0d2c9a7755e0c2f1",
        sources=(),
        spine=SpineRecord(path="data/ecommerce/spine", sha256="77", rows=500_000),
        split=TimeSplitConfig(validation=0.1, test=0.1),
        boundaries=SplitBoundaries(
            first=datetime(2026, 3, 1, 0, 0, 4, tzinfo=UTC),
            validation_from=datetime(2026, 4, 20, 11, 2, 9, tzinfo=UTC),
            test_from=datetime(2026, 4, 25, 17, 40, 31, tzinfo=UTC),
            last=datetime(2026, 4, 30, 23, 59, 51, tzinfo=UTC),
        ),
        rows={"train": 400_000, "validation": 50_000, "test": 50_000},
        rows_before_sampling={"train": 600_000, "validation": 50_000, "test": 50_000},
        quarantined=0,
        files={},
        row_group_rows=8192,
        shuffle_seed=0,
        join_keys=("user_id", "item_id"),
        group_by="user_id",
        sample_weight=None,
        schema=BatchSchema(
            vocabularies={"user_id": 20_002, "item_id": 5_002, "user_country": 14, "item_category": 42},
            tasks=tuple(options.tasks),
        ),
        preprocessing=fit(PreprocessingConfig(), (), pa.table({"user_id": [1, 2]})).model_copy(
            update={
                "lists": (ListFeature(name="user_recent_items", vocabulary="item_id", max_length=50),),
                "truncated": dict(options.truncated),
            }
        ),
        missing={row[0]: row[5] for row in FEATURES},
        label_statistics=statistics,
        label_rates=dict.fromkeys(("train", "validation", "test"), rates),
    )
    return document.model_dump(mode="json", by_alias=True)
