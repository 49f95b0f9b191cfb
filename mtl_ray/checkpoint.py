"""A checkpoint: a folder that carries everything that training needs to go on and prediction needs to be the same.

config.json        the resolved config
features.json      batch schema, preprocessing and label statistics (see `ModelContext`)
model.safetensors  weights to predict with: averaged ones, where the training averages
training.pt        optimizer, schedule and weighting state, and the weights where model.safetensors has averaged ones;
                   read with weights_only
position.json      epoch, batch, best value, epochs without a better one
fusion.json        the ranking score, where the config has one; added to the best checkpoint when training is over
checksums.json     sha256 of each of the above; written last
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mtl_ray.config import Config, parse_config
from mtl_ray.data.preprocessing import Preprocessing
from mtl_ray.errors import CheckpointError
from mtl_ray.fusion import Fusion
from mtl_ray.schema import BatchSchema, LabelStatistics, Settings
from mtl_ray.storage import local_copy

FORMAT: Literal[1] = 1

FUSION_FILE = "fusion.json"

CHECKSUMS_FILE = "checksums.json"


class ModelContext(Settings):
    """What a model needs beside its weights: how its inputs were encoded and its labels distributed."""

    format: Literal[1] = FORMAT
    training_set: str
    """Id of the snapshot that the model was trained on."""
    batch_schema: BatchSchema
    preprocessing: Preprocessing
    label_statistics: dict[str, LabelStatistics]


class TrainingPosition(Settings):
    """Where a training stands."""

    epoch: int
    """The epoch to go on with, 1-based."""
    batch: int
    """Global batches of that epoch that are done."""
    step: int
    """Optimizer steps so far."""
    best: float | None = None
    """Best value of the early-stopping metric so far."""
    best_epoch: int | None = None
    epochs_without_better: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and verified; tensors are on the CPU."""

    path: Path
    config: Config
    context: ModelContext
    weights: dict[str, Tensor]
    position: TrainingPosition
    fusion: Fusion | None = None
    """The ranking score; None without `fusion` in the config, and in checkpoints that are not the best one."""

    def training_state(self) -> dict[str, Any]:
        """Optimizer, schedule and weighting state."""
        state: dict[str, Any] = torch.load(self.path / "training.pt", map_location="cpu", weights_only=True)
        return state


def save_checkpoint(
    folder: Path,
    config: Config,
    context: ModelContext,
    weights: Mapping[str, Tensor],
    training_state: Mapping[str, Any],
    position: TrainingPosition,
) -> None:
    """Write a checkpoint into `folder`, which must exist. Not a collective: call it on one rank."""
    (folder / "config.json").write_text(config.model_dump_json(indent=2))
    (folder / "features.json").write_text(context.model_dump_json())
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, folder / "model.safetensors"
    )
    torch.save(dict(training_state), folder / "training.pt")
    (folder / "position.json").write_text(position.model_dump_json(indent=2))
    checksums = {file.name: _sha256(file) for file in sorted(folder.iterdir())}
    (folder / CHECKSUMS_FILE).write_text(json.dumps(checksums, indent=2))


def add_fusion(folder: Path, fusion: Fusion) -> None:
    """Put the ranking score into a finished checkpoint, in place of one that is there. Not a collective.

    A reader in between finds a checksum that does not fit, never a score that is half written.
    """
    checksums = _read_checksums(folder)
    (folder / FUSION_FILE).write_text(fusion.model_dump_json(indent=2))
    checksums[FUSION_FILE] = _sha256(folder / FUSION_FILE)
    aside = folder / "checksums.json.part"
    aside.write_text(json.dumps(checksums, indent=2))
    aside.replace(folder / CHECKSUMS_FILE)


def checkpoint_state(folder: Path) -> str:
    """A hash that changes with any file of the checkpoint, and where another stands under this path."""
    return _sha256(folder / CHECKSUMS_FILE)


def verify_checkpoint(folder: Path) -> dict[str, str]:
    """The checksums of a checkpoint, each of which is right.

    Raises:
        CheckpointError: the folder or a file is absent, or a file's content is not what was written.
    """
    checksums = _read_checksums(folder)
    for name, expected in checksums.items():
        file = folder / name
        if not file.is_file():
            raise CheckpointError(
                "A file of the checkpoint is missing.", where=str(file), fix="restore it or use another checkpoint"
            )
        if _sha256(file) != expected:
            raise CheckpointError(
                "A file of the checkpoint is damaged: its checksum differs from the one recorded.",
                where=str(file),
                fix="restore it or use another checkpoint",
            )
    return checksums


def load_checkpoint(place: str | Path) -> Checkpoint:
    """Read and verify a checkpoint, in a folder or an object store. Raises CheckpointError as `verify_checkpoint`."""
    folder = local_copy(place)
    checksums = verify_checkpoint(folder)
    try:
        context = ModelContext.model_validate_json((folder / "features.json").read_text())
        position = TrainingPosition.model_validate_json((folder / "position.json").read_text())
        weights = load_file(folder / "model.safetensors")
        tree = json.loads((folder / "config.json").read_text())
        fusion = None
        if FUSION_FILE in checksums:
            fusion = Fusion.model_validate_json((folder / FUSION_FILE).read_text())
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            "The checkpoint cannot be read.",
            where=str(folder),
            found=str(error),
            allowed=f"format {FORMAT}, written by this version",
            fix="train again, or use the version that wrote it",
        ) from error
    config = parse_config(tree, str(folder / "config.json"))
    return Checkpoint(folder, config, context, weights, position, fusion)


def _read_checksums(folder: Path) -> dict[str, str]:
    file = folder / CHECKSUMS_FILE
    try:
        checksums = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise CheckpointError(
            "This folder is no complete checkpoint: checksums.json, which is written last, is missing.",
            where=str(folder),
            fix="use another checkpoint of the run, or train again",
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError("The checkpoint's list of checksums is damaged.", where=str(file)) from error
    if not isinstance(checksums, dict) or "model.safetensors" not in checksums:
        raise CheckpointError("The checkpoint's list of checksums is damaged.", where=str(file))
    return checksums


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
