"""What a run says of its progress: `metrics.jsonl` for the report and scripts, TensorBoard events for the eye."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mtl_ray.errors import DataError, StorageError

METRICS_FILE = "metrics.jsonl"
TENSORBOARD_FOLDER = "tensorboard"

_POSITION = ("kind", "epoch", "step", "rows", "seconds", "best")


class MetricsLog:
    """Appends records to `<folder>/metrics.jsonl` and the numbers in them to `<folder>/tensorboard/`.

    One JSON object a line, each on disk when the call returns. A record has at least `step`; numbers that are not
    finite are written as null (JSON has no NaN). Opening the log of a run that was killed while it wrote drops the
    torn last line and goes on behind the others.

    TensorBoard: every number outside the position (epoch, step, rows, seconds) under its own name, against the
    step; the `train/...` means of an epoch are named `train_epoch/...`, apart from those of single steps.

    Raises StorageError where the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        # Imported here: reading metrics back must not cost the import of torch.
        from torch.utils.tensorboard import SummaryWriter

        path = folder / METRICS_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _drop_torn_line(path)
            self._file = path.open("a", encoding="utf-8")
            self._events = SummaryWriter(log_dir=str(folder / TENSORBOARD_FOLDER))
        except OSError as error:
            raise StorageError(
                "The run folder cannot be written.",
                where=str(path),
                found=error.strerror,
                fix="choose a writable storage, with free space",
            ) from error

    def log_step(self, record: Mapping[str, Any]) -> None:
        """Appends a record of kind `step`: what happened since the last one."""
        self._append({"kind": "step", **record})
        self._show(record)

    def log_epoch(self, record: Mapping[str, Any]) -> None:
        """Appends a record of kind `epoch`: means over the epoch and validation metrics."""
        self._append({"kind": "epoch", **record})
        renamed = {
            f"train_epoch/{key.removeprefix('train/')}" if key.startswith("train/") else key: value
            for key, value in record.items()
        }
        self._show(renamed)
        self._events.flush()

    def close(self) -> None:
        """Writes what is left; the log cannot be used afterwards."""
        self._file.close()
        self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, record: Mapping[str, Any]) -> None:
        line = json.dumps({key: _plain(value) for key, value in record.items()}, allow_nan=False)
        self._file.write(line + "\n")
        self._file.flush()

    def _show(self, record: Mapping[str, Any]) -> None:
        for name, value in record.items():
            plain = _plain(value)
            if name not in _POSITION and isinstance(plain, int | float) and not isinstance(plain, bool):
                self._events.add_scalar(name, plain, int(record["step"]))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All records of a `metrics.jsonl` in the order in which they were written.

    A torn last line, as a killed run leaves one, is left out with a warning. Raises StorageError where the file is
    absent and DataError for a damaged line before the last.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise StorageError(
            "The run has no metrics to read.", where=str(path), found=error.strerror, fix="name the folder of a run"
        ) from error
    records = []
    for number, line in enumerate(lines, start=1):
        record = _parsed(line)
        if record is not None:
            records.append(record)
        elif number == len(lines):
            warnings.warn(f"{path}: the last line is torn and left out (was the run killed?)", stacklevel=2)
        else:
            raise DataError(
                "A line of the metrics is damaged.",
                where=f"{path}, line {number}",
                found=line[:80],
                allowed="one JSON object a line",
            )
    return records


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def _drop_torn_line(path: Path) -> None:
    """Cuts off what follows the last newline; a whole line is written with its newline in one call."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)


def _plain(value: Any) -> Any:
    """The value as JSON has it: numpy and torch scalars as Python numbers, None for what is not finite."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
