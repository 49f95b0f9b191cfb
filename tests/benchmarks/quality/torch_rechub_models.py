"""torch-rechub's MMoE and PLE with its own layers, losses and trainer, on the rows that our models read.

Its `MTLTrainer` takes every step and every prediction. Two things are ours: rows come from memory in whole batches (its
data set hands out single rows in Python dicts, which takes longer than the training), and the epoch that is kept is
chosen as for our models, by the task-weighted loss on the validation part with the same patience (its own early
stopping looks at one task, and keeps the last epoch where it does not stop).
"""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtl_ray.config import Config, parse_config
from mtl_ray.data.snapshot import Snapshot, open_snapshot
from mtl_ray.schema import MISSING_ID, BatchSchema
from tests.benchmarks.measure import Side
from tests.benchmarks.quality.encoded_rows import EncodedRows, Target, targets
from tests.benchmarks.quality.figures import PARTS, evaluated, predictions_of_peer

NUMERIC = "numeric"


@dataclass(frozen=True)
class Rows:
    """Inputs by feature name, targets `[rows, T]`; iterating gives batches as torch-rechub's loaders do."""

    inputs: dict[str, Tensor]
    targets: Tensor
    batch_size: int
    shuffled: torch.Generator | None = None

    def __len__(self) -> int:
        return -(-len(self.targets) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        rows = len(self.targets)
        order = torch.arange(rows) if self.shuffled is None else torch.randperm(rows, generator=self.shuffled)
        for chosen in order.split(self.batch_size):
            yield {name: values[chosen] for name, values in self.inputs.items()}, self.targets[chosen]

    @property
    def without_targets(self) -> list[dict[str, Tensor]]:
        """The inputs alone, in batches."""
        return [inputs for inputs, _ in self]


@dataclass(frozen=True)
class RecHub:
    """One training with one learning rate."""

    config: Config
    snapshot: Snapshot
    model: str
    sizes: dict[str, Any]
    learning_rate: float
    seed: int
    keep: str | None = None

    def warm_up(self) -> None:
        """Import."""
        import torch_rechub.trainers  # noqa: F401

    def run(self) -> dict[str, Any]:
        """Train, and predict with the best epoch."""
        from torch_rechub.trainers import MTLTrainer

        torch.manual_seed(self.seed)
        wanted = targets(self.config, self.snapshot)
        rows = {part: self._rows(part, wanted) for part in ("train", *PARTS)}
        kinds = ["regression" if target.regression else "classification" for target in wanted]
        model = self._build(kinds)
        trainer = MTLTrainer(
            model,
            kinds,
            optimizer_params={"lr": self.learning_rate, "weight_decay": 1e-5},
            n_epoch=1,
            model_path=tempfile.gettempdir(),
        )
        losses: list[float] = []
        best: dict[str, Any] = {}
        for _ in range(self.config.training.epochs):
            trainer.train_one_epoch(rows["train"])
            predicted = {part: self._predict(trainer, model, rows[part]) for part in ("validation",)}
            losses.append(validation_loss(wanted, predicted["validation"], rows["validation"].targets.numpy()))
            if losses[-1] <= min(losses):
                best = copy.deepcopy(model.state_dict())
            patience = self.config.training.early_stopping.patience
            if patience is not None and len(losses) - 1 - int(np.argmin(losses)) >= patience:
                break
        model.load_state_dict(best)
        predicted = {part: self._predict(trainer, model, rows[part]) for part in PARTS}
        return {
            "losses": losses,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "predicted": {
                part: {target.name: target.decode(values[:, index]) for index, target in enumerate(wanted)}
                for part, values in predicted.items()
            },
        }

    def check(self, result: dict[str, Any]) -> dict[str, Any]:
        """Figures of the best epoch."""
        group_by = self.config.evaluation.group_by
        return {
            "parameters": result["parameters"],
            "epochs": len(result["losses"]),
            "best_epoch": int(np.argmin(result["losses"])) + 1,
            "validation_loss": result["losses"],
            **evaluated(
                self.config,
                self.snapshot,
                lambda part: predictions_of_peer(self.snapshot, part, group_by, result["predicted"][part]),
                self.keep,
            ),
        }

    def _rows(self, part: str, wanted: list[Target]) -> Rows:
        rows = EncodedRows.read(self.snapshot, part)
        labels = np.stack([target.encode(rows.label(target.name)) for target in wanted], axis=1)
        if not np.isfinite(labels).all():
            raise ValueError("torch-rechub's losses know no label that is not observed")
        inputs: dict[str, Tensor] = {
            feature.name: rows.batch.categorical[:, column] for column, feature in enumerate(rows.schema.categorical)
        }
        inputs = {**inputs, **rows.batch.lists, NUMERIC: rows.batch.numeric}
        shuffled = torch.Generator().manual_seed(self.seed) if part == "train" else None
        targets_ = torch.from_numpy(labels.astype(np.float32))
        return Rows(inputs, targets_, self.config.training.global_batch_size, shuffled)

    def _build(self, kinds: list[str]) -> nn.Module:
        from torch_rechub.models.multi_task import MMOE, PLE

        sizes = self.sizes
        dropout = {"activation": "relu", "dropout": sizes["dropout"]}
        expert = {"dims": list(sizes["expert"]), **dropout}
        towers = [{"dims": list(sizes["tower"]), **dropout} for _ in kinds]
        columns = features(self.snapshot.schema, sizes["embedding_dim"])
        model: nn.Module
        if self.model == "mmoe":
            model = MMOE(columns, kinds, sizes["num_experts"], expert, towers)
        else:
            levels, own, shared = sizes["levels"], sizes["task_experts"], sizes["shared_experts"]
            model = PLE(columns, kinds, levels, own, shared, expert, towers)
        return model

    def _predict(self, trainer: Any, model: nn.Module, rows: Rows) -> np.ndarray:
        values = np.asarray(trainer.predict(model, rows.without_targets), dtype=np.float64)
        return values.reshape(len(rows.targets), -1)


def features(schema: BatchSchema, embedding_dim: int) -> list[Any]:
    """torch-rechub's feature columns. Features of one vocabulary share the table of the first, as in our models."""
    from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature

    owners: dict[str, str] = {}
    columns: list[Any] = []
    for feature in schema.categorical:
        owner = owners.setdefault(feature.vocabulary, feature.name)
        shared = None if owner == feature.name else owner
        columns.append(
            SparseFeature(feature.name, schema.vocabularies[feature.vocabulary], embedding_dim, shared_with=shared)
        )
    for feature in schema.lists:
        owner = owners.setdefault(feature.vocabulary, feature.name)
        columns.append(
            SequenceFeature(
                feature.name,
                schema.vocabularies[feature.vocabulary],
                embedding_dim,
                pooling="mean",
                shared_with=None if owner == feature.name else owner,
                padding_idx=MISSING_ID,
            )
        )
    columns.append(DenseFeature(NUMERIC, embed_dim=len(schema.numeric)))
    return columns


def validation_loss(wanted: list[Target], predicted: np.ndarray, labels: np.ndarray) -> float:
    """The task-weighted sum of the mean losses, as `validation/loss` of our models."""
    total = 0.0
    for index, target in enumerate(wanted):
        value, label = predicted[:, index], labels[:, index].astype(np.float64)
        if target.regression:
            loss = float(np.mean((value - label) ** 2))
        else:
            clipped = np.clip(value, 1e-7, 1.0 - 1e-7)
            loss = float(-np.mean(label * np.log(clipped) + (1.0 - label) * np.log1p(-clipped)))
        total += target.weight * loss
    return math.inf if math.isnan(total) else total


def rechub(
    snapshot: str,
    seed: int,
    config: dict[str, Any],
    model: str,
    sizes: dict[str, Any],
    learning_rate: float,
    keep: str | None = None,
) -> Side:
    """Target of `measure`; `model` is mmoe or ple."""
    return RecHub(parse_config(config), open_snapshot(snapshot), model, sizes, learning_rate, seed, keep)
