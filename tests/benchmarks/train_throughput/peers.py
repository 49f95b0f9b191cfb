"""torch-rechub's and DeepCTR-Torch's own trainers: a model of the same size on the same encoded rows, dense Adam.

torch-rechub is measured twice: as its documentation has it, with its `DataGenerator`, which hands out single rows, and
with whole batches from memory, which it does not offer. DeepCTR-Torch's `fit` makes its own loader.
"""

from __future__ import annotations

import os
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtl_ray.data.snapshot import open_snapshot
from mtl_ray.schema import BatchSchema
from tests.benchmarks.measure import Side
from tests.benchmarks.quality.encoded_rows import EncodedRows
from tests.benchmarks.quality.torch_rechub_models import NUMERIC, Rows, features

DIM, EXPERTS, EXPERT, TOWER = 16, 4, (256, 128), (64,)
"""As `workload.configured`."""


@dataclass
class Peer(ABC):
    """One epoch over `rows` rows in one process with all threads."""

    snapshot: str
    rows: int
    batch_size: int

    def warm_up(self) -> None:
        """Reading and building the model is not timed."""
        torch.set_num_threads(os.cpu_count() or 1)
        torch.manual_seed(0)
        found = EncodedRows.read(open_snapshot(self.snapshot), "train")
        self.build(found.schema, found)

    @abstractmethod
    def build(self, schema: BatchSchema, rows: EncodedRows) -> None:
        """Model, trainer and the rows as the trainer takes them."""

    @abstractmethod
    def epoch(self) -> None:
        """One epoch."""

    def run(self) -> float:
        """Seconds of the epoch."""
        began = time.perf_counter()
        self.epoch()
        return time.perf_counter() - began

    def check(self, result: float) -> dict[str, Any]:
        """As ours."""
        return {"samples_per_second": [self.rows / result]}


class RecHub(Peer):
    """torch-rechub's MMoE and MTLTrainer, on its DataGenerator's loader."""

    def build(self, schema: BatchSchema, rows: EncodedRows) -> None:
        from torch_rechub.models.multi_task import MMOE
        from torch_rechub.trainers import MTLTrainer

        kinds = ["classification"] * len(schema.tasks)
        activation = {"activation": "relu", "dropout": 0.0}
        towers = [{"dims": list(TOWER), **activation} for _ in kinds]
        model = MMOE(features(schema, DIM), kinds, EXPERTS, {"dims": list(EXPERT), **activation}, towers)
        self._trainer = MTLTrainer(model, kinds, n_epoch=1, model_path=tempfile.gettempdir())
        inputs = {
            feature.name: rows.batch.categorical[: self.rows, at] for at, feature in enumerate(schema.categorical)
        }
        inputs[NUMERIC] = rows.batch.numeric[: self.rows]
        self._loader = self.loader(inputs, rows.batch.labels[: self.rows])

    def loader(self, inputs: dict[str, Tensor], labels: Tensor) -> Any:
        """What the trainer reads."""
        from torch_rechub.utils.data import DataGenerator

        held_out = {"x_val": inputs, "y_val": labels, "x_test": inputs, "y_test": labels}
        return DataGenerator(inputs, labels).generate_dataloader(**held_out, batch_size=self.batch_size)[0]

    def epoch(self) -> None:
        self._trainer.train_one_epoch(self._loader)


class RecHubInMemory(RecHub):
    """The same with a loader of ours, which takes whole batches from tensors."""

    def loader(self, inputs: dict[str, Tensor], labels: Tensor) -> Any:
        return Rows(inputs, labels, self.batch_size, torch.Generator().manual_seed(0))


class DeepCTR(Peer):
    """DeepCTR-Torch's MMOE and its `fit`."""

    def build(self, schema: BatchSchema, rows: EncodedRows) -> None:
        from deepctr_torch.inputs import DenseFeat, SparseFeat
        from deepctr_torch.models import MMOE

        sizes = [schema.vocabularies[feature.vocabulary] for feature in schema.categorical]
        columns = [
            SparseFeat(feature.name, size, embedding_dim=DIM)
            for feature, size in zip(schema.categorical, sizes, strict=True)
        ]
        columns += [DenseFeat(NUMERIC, len(schema.numeric))]
        self._model = MMOE(
            columns,
            num_experts=EXPERTS,
            expert_dnn_hidden_units=EXPERT,
            gate_dnn_hidden_units=(),
            tower_dnn_hidden_units=TOWER,
            l2_reg_embedding=0.0,
            task_types=("binary",) * len(schema.tasks),
            task_names=schema.tasks,
        )
        self._model.compile("adam", loss=["binary_crossentropy"] * len(schema.tasks))
        self._inputs: dict[str, np.ndarray] = {
            feature.name: rows.batch.categorical[: self.rows, at].numpy()
            for at, feature in enumerate(schema.categorical)
        }
        self._inputs[NUMERIC] = rows.batch.numeric[: self.rows].numpy()
        self._labels = rows.batch.labels[: self.rows].numpy()

    def epoch(self) -> None:
        self._model.fit(self._inputs, self._labels, batch_size=self.batch_size, epochs=1, verbose=0)


def rechub(snapshot: str, rows: int, batch_size: int) -> Side:
    """Target of `measure`."""
    return RecHub(snapshot, rows, batch_size)


def rechub_in_memory(snapshot: str, rows: int, batch_size: int) -> Side:
    """Target of `measure`."""
    return RecHubInMemory(snapshot, rows, batch_size)


def deepctr(snapshot: str, rows: int, batch_size: int) -> Side:
    """Target of `measure`."""
    return DeepCTR(snapshot, rows, batch_size)
