"""Which checkpoint a training goes on from after a loss: the newest that is whole."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray.train
from ray.train.v2._internal.constants import CHECKPOINT_MANAGER_SNAPSHOT_FILENAME

from mtl_ray.checkpoint import TrainingPosition, verify_checkpoint
from mtl_ray.errors import CheckpointError
from mtl_ray.storage import below, is_file

logger = logging.getLogger(__name__)


@contextmanager
def newest_intact(checkpoints: str) -> Iterator[tuple[Path, TrainingPosition] | None]:
    """The folder and position of the newest checkpoint whose files all have their checksums, for the time of the block;
    None where no checkpoint was recorded yet.

    Only what Ray Train has recorded counts, so that every process that asks before the next report gets the same
    answer. `checkpoints`: folder or URI. Raises CheckpointError where there are checkpoints and none is whole.
    """
    damage: CheckpointError | None = None
    for checkpoint in recorded(checkpoints):
        with checkpoint.as_directory() as name:
            folder = Path(name)
            try:
                verify_checkpoint(folder)
            except CheckpointError as error:
                damage = damage or error
                logger.warning("%s is left out, an older checkpoint is used: %s", checkpoint.path, error)
                continue
            yield folder, TrainingPosition.model_validate_json((folder / "position.json").read_text())
            return
    if damage is not None:
        raise CheckpointError(
            "No checkpoint of the run is whole.",
            where=checkpoints,
            found=str(damage).replace("\n", " "),
            fix="train again, or restore a checkpoint",
        ) from damage
    yield None


def recorded(checkpoints: str) -> list[ray.train.Checkpoint]:
    """The checkpoints that Ray Train knows of, the newest first; their names begin with their time.

    One whose files are there, but whose driver was lost before it could record it, does not count, the first of a run
    like any other.
    """
    if not is_file(below(checkpoints, CHECKPOINT_MANAGER_SNAPSHOT_FILENAME)):
        return []
    result = ray.train.Result.from_path(checkpoints)
    found = [result.checkpoint, *(checkpoint for checkpoint, _ in result.best_checkpoints)]
    by_name = {Path(checkpoint.path).name: checkpoint for checkpoint in found if checkpoint is not None}
    return [by_name[name] for name in sorted(by_name, reverse=True)]
