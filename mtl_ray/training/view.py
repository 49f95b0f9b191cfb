"""Training as it is seen on a terminal: a bar that moves, or a line now and then where nobody watches."""

from __future__ import annotations

import math
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mtl_ray.training.progress import Record

LINE_SECONDS = 5.0
"""Seconds between two lines where the output is no terminal."""


class TrainingView:
    """Context manager that shows training records on `console`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: TaskID | None = None
        self._last_line = -math.inf
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> TrainingView:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, record: Record) -> None:
        """Show a record of the workers."""
        if record["kind"] == "start":
            self._start(record)
        elif record["kind"] in ("profile", "compile"):
            self._console.print(f"· {record['kind']}: {record['words']}", highlight=False, soft_wrap=True)
        elif record["kind"] == "epoch":
            self._end_epoch(record)
        else:
            self._step(record)

    def _start(self, record: Record) -> None:
        workers = f"{record['workers']} worker{'s are' if record['workers'] > 1 else ' is'} ready on {record['device']}"
        workers += f" ({record['arithmetic']})"
        again = f", going on after step {record['step']:,}" if record["step"] else ""
        tables = f"{record['embedding_rows']:,} embedding rows ({record['embedding_optimizer']})"
        self._console.print(
            f"· {workers}, {record['parameters']:,} parameters, {tables}{again}; waiting for the first rows",
            highlight=False,
            soft_wrap=True,
        )
        if "sharding" in record:
            self._console.print(f"· embedding tables: {record['sharding']}", highlight=False, soft_wrap=True)

    def _step(self, record: Record) -> None:
        figures = f"{record['samples_per_second']:>9,.0f} samples/s  {_losses(record, 'train')}"
        description = f"epoch {record['epoch']}"
        done = record["epoch_step"]
        if self._bar is None:
            self._bar = self._progress.add_task(description, total=record["epoch_steps"], figures=figures)
        self._progress.update(self._bar, description=description, completed=done, figures=figures)
        if not self._console.is_terminal and time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            line = f"{description}  step {done}/{record['epoch_steps']}  {figures}"
            self._console.print(line, highlight=False, soft_wrap=True)

    def _end_epoch(self, record: Record) -> None:
        if self._bar is not None:
            self._progress.remove_task(self._bar)
            self._bar = None
        scores = "  ".join(
            f"{key.split('/')[1]} {key.split('/')[2]} {value:.4f}"
            for key, value in record.items()
            if key.startswith("validation/") and key.endswith(("/roc_auc", "/rmse", "/accuracy")) and value == value
            if key.endswith("/roc_auc") or f"{key.rsplit('/', 1)[0]}/roc_auc" not in record
        )
        mark = "best so far" if record["best"] else "not the best"
        self._console.print(
            f"epoch {record['epoch']}  {record['seconds']:.0f} s  validation loss {record['validation/loss']:.4f} "
            f"({mark})  {scores}",
            highlight=False,
            soft_wrap=True,
        )


def _losses(record: Record, split: str) -> str:
    return "  ".join(
        f"{key.split('/')[1]} {value:.4f}"
        for key, value in record.items()
        if key.startswith(f"{split}/") and key.count("/") == 2 and key.endswith("/loss")
    )
