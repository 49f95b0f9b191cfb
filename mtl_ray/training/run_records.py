"""What the driver does with the records that workers post: files, MLflow, Prometheus, and whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from mtl_ray.config import Config
from mtl_ray.errors import InterruptedRunError
from mtl_ray.run_folder import RunFolder
from mtl_ray.tracking import MetricsLog, MlflowRun
from mtl_ray.training.gauges import Restarts
from mtl_ray.training.progress import Record

FILES = ("config.yaml", "environment.json", "training_set.json", "summary.json")
"""Of the run folder; uploaded to MLflow when the training has ended well."""


class RunRecords:
    """Context manager around a training; the MLflow run ends as the block does."""

    def __init__(self, config: Config, run: RunFolder, show: Callable[[Record], None]) -> None:
        self._config = config
        self._run = run
        self._show = show
        self._log = MetricsLog(run.path)
        self._restarts = Restarts(run.path.name)
        mlflow = config.tracking.mlflow
        self._mlflow: MlflowRun | None = None
        if mlflow is not None:
            tree = config.model_dump(mode="json")
            self._mlflow = MlflowRun.again(run.path) or MlflowRun.begin(
                mlflow, config.storage, config.name, tree, run.path
            )

    def receive(self, record: Record) -> None:
        """Keep one record."""
        if record["kind"] == "start":
            self._restarts.started()
        elif record["kind"] == "epoch":
            self._log.log_epoch(record)
            self._run.publish()
        elif record["kind"] == "step":
            self._log.log_step(record)
        if self._mlflow is not None and record["kind"] in ("epoch", "step"):
            self._mlflow.log(record)
        self._show(record)

    def keep(self) -> None:
        """Upload the files of a run that has ended well to MLflow, and register its model."""
        mlflow = self._config.tracking.mlflow
        if self._mlflow is None or mlflow is None:
            return
        self._mlflow.log_files([self._run.path / name for name in FILES])
        best = self._run.checkpoint("best")
        if mlflow.register_as is None:
            self._mlflow.log_files([best / "checksums.json"], "checkpoint")
        else:
            self._mlflow.register(mlflow.register_as, best)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()
        self._run.publish()
        if self._mlflow is not None:
            interrupted = isinstance(error, KeyboardInterrupt | InterruptedRunError)
            self._mlflow.end("FINISHED" if error is None else "KILLED" if interrupted else "FAILED")
