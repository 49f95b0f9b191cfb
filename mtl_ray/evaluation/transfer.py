"""What a comparison with single-task twins found for one run: `<run>/evaluation/transfer.json`."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from mtl_ray.errors import DataError
from mtl_ray.evaluation.differences import Difference
from mtl_ray.run_folder import write_json
from mtl_ray.schema import Settings

TRANSFER_FILE = "transfer.json"


class Transfer(Settings):
    """The run's model less the twin of each task, on the same rows."""

    split: str
    confidence: float
    page: str
    """Page of the comparison, relative to the run folder."""
    differences: tuple[Difference, ...]


def write_transfer(transfer: Transfer, run_folder: Path) -> None:
    """Write it into the run's `evaluation` folder, whole or not at all."""
    folder = run_folder / "evaluation"
    folder.mkdir(exist_ok=True)
    write_json(folder / TRANSFER_FILE, transfer.model_dump(mode="json"))


def read_transfer(run_folder: Path) -> Transfer | None:
    """What `write_transfer` wrote; None where there was no such comparison. Raises DataError where it is damaged."""
    path = run_folder / "evaluation" / TRANSFER_FILE
    if not path.is_file():
        return None
    try:
        return Transfer.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DataError(
            "The result of a comparison is damaged or from another version.",
            where=str(path),
            found=str(error.errors()[0]["msg"]),
            fix="remove the file, or compare again with jobs/compare.py",
        ) from error
