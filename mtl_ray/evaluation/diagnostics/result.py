"""The stored document: `<run>/evaluation/diagnostics.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from mtl_ray.errors import DataError
from mtl_ray.run_folder import write_json
from mtl_ray.schema import Settings

DIAGNOSTICS_FILE = "diagnostics.json"


class GateUse(Settings):
    """How one gate divides its weight over experts, over the rows that were looked at."""

    gate: str
    """Its name in `MultiTaskModel.gates`."""
    mean: tuple[float, ...]
    """Mean weight of each expert."""
    largest: tuple[float, ...]
    """Share of the rows in which each expert weighs most; rows in which several do count for the first of them."""


class Cosines(Settings):
    """Cosines between the gradients of the tasks' losses, in one place of the model."""

    place: Literal["shared layers", "embedding tables", "encoded rows"]
    tasks: tuple[str, ...]
    cosine: tuple[tuple[float | None, ...], ...]
    """Mean over batches, `[T, T]`; None where no batch has a gradient of both tasks here."""
    batches: tuple[tuple[int, ...], ...]
    """Batches behind each mean."""


class Size(Settings):
    """How large the model is."""

    embeddings: int
    """Parameters of all embedding tables."""
    encoder: int
    """Other parameters of the encoders."""
    shared: int
    """Parameters above the encoders that several tasks reach."""
    tasks: dict[str, int]
    """Parameters above the encoders that one task alone reaches."""
    flops: float
    """Floating-point operations of a row's forward pass, see `mtl_ray.evaluation.diagnostics.size`."""

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.embeddings + self.encoder + self.shared + sum(self.tasks.values())


class Diagnostics(Settings):
    """What was found in one checkpoint."""

    checkpoint: str
    split: str
    """Part that the gates were looked at in; the gradients are of the training part."""
    gate_rows: int
    gates: tuple[GateUse, ...]
    """Empty for a model without gates."""
    batch_rows: int
    """Rows of each batch of the gradients: a global batch of the training."""
    cosines: tuple[Cosines, ...]
    """Empty for a model of one task."""
    size: Size


def write_diagnostics(diagnostics: Diagnostics, run_folder: Path) -> None:
    """Write it into the run's `evaluation` folder, whole or not at all."""
    write_json(run_folder / "evaluation" / DIAGNOSTICS_FILE, diagnostics.model_dump(mode="json"))


def read_diagnostics(run_folder: Path) -> Diagnostics | None:
    """What `write_diagnostics` wrote; None for a run without it. Raises DataError where it is damaged."""
    path = run_folder / "evaluation" / DIAGNOSTICS_FILE
    if not path.is_file():
        return None
    try:
        return Diagnostics.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DataError(
            "The diagnostics are damaged or from another version.",
            where=str(path),
            found=str(error.errors()[0]["msg"]),
            fix="python jobs/evaluate.py --run RUN",
        ) from error
