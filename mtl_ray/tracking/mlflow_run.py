"""One MLflow run for one training: parameters, metrics as they come, files, and the model that is registered.

MLflow is an optional dependency and is imported when it is asked for. A store that cannot be used is told before a
worker starts; one that is lost later does not cost the training: what it missed is in the run's own folder, and that is
said.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from mtl_ray.errors import ConfigError, StorageError, UserError
from mtl_ray.tracking.config import MlflowConfig

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUN_FILE = "mlflow.json"
"""In the run folder: where its MLflow run is, for what is added later."""

ENVIRONMENT = "MLFLOW_TRACKING_URI"

_LONGEST_PARAMETER = 6000
_PARAMETERS_A_BATCH = 100
_POSITION = ("kind", "epoch", "step")


class MlflowRun:
    """An MLflow run that is written to from one thread at a time."""

    def __init__(self, uri: str, run_id: str) -> None:
        self.uri = uri
        self.run_id = run_id
        self._client = _client(uri)
        self._lost: str | None = None

    @classmethod
    def begin(cls, config: MlflowConfig, storage: str, name: str, tree: Mapping[str, Any], run: Path) -> MlflowRun:
        """Start the run of the training called `name`, whose resolved config is `tree`, and note it in folder `run`.

        Raises as `check_mlflow` does.
        """
        uri = check_mlflow(config, storage)
        with _told(uri):
            client = _client(uri)
            experiment = _experiment(client, config.experiment or name, uri)
            tags = {"mlflow.source.name": "mtl-ray", "mtl_ray.run": str(run)}
            begun = client.create_run(experiment, run_name=run.name, tags=tags)
            tracked = cls(uri, begun.info.run_id)
            tracked._log_parameters(tree)
        # A URI of the environment may hold a password, and is not written down.
        noted = None if config.uri is None and ENVIRONMENT in os.environ else uri
        (run / RUN_FILE).write_text(json.dumps({"uri": noted, "run_id": tracked.run_id}, indent=2))
        return tracked

    @classmethod
    def again(cls, run: Path) -> MlflowRun | None:
        """The MLflow run of the training in folder `run`, that goes on; None where it has none that can be reached."""
        return _noted_run(run)

    def log(self, record: Mapping[str, Any]) -> None:
        """The finite numbers of a record against its `step`; an epoch's `train/...` means are `train_epoch/...`."""
        epoch = record["kind"] == "epoch"
        named = {
            f"train_epoch/{key.removeprefix('train/')}" if epoch and key.startswith("train/") else key: value
            for key, value in record.items()
            if key not in _POSITION
        }
        self.log_metrics(named, int(record["step"]))

    def log_metrics(self, values: Mapping[str, Any], step: int) -> None:
        """Every value that is a finite number."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        finite = {name: value for name, value in values.items() if _is_finite(value)}
        metrics = [Metric(_metric_name(name), float(value), now, step) for name, value in finite.items()]
        with self._kept():
            self._client.log_batch(self.run_id, metrics=metrics)

    def log_files(self, files: Sequence[Path], folder: str | None = None) -> None:
        """Upload `files`, into `folder` of the run's artifacts."""
        for file in files:
            with self._kept():
                self._client.log_artifact(self.run_id, str(file), folder)

    def register(self, name: str, checkpoint: Path) -> None:
        """Upload `checkpoint` and make it the newest version of the registered model `name`."""
        from mlflow.exceptions import MlflowException

        with self._kept():
            self._client.log_artifacts(self.run_id, str(checkpoint), "checkpoint")
            try:
                self._client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            source = f"{self._client.get_run(self.run_id).info.artifact_uri}/checkpoint"
            self._client.create_model_version(name, source=source, run_id=self.run_id)

    def end(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED."""
        with self._kept():
            self._client.set_terminated(self.run_id, status=status)

    def _log_parameters(self, tree: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        parameters = [Param(_metric_name(name), value[:_LONGEST_PARAMETER]) for name, value in flat(tree)]
        for begin in range(0, len(parameters), _PARAMETERS_A_BATCH):
            self._client.log_batch(self.run_id, params=parameters[begin : begin + _PARAMETERS_A_BATCH])

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """A training is worth more than its record: a store that fails is warned of, once, and the rest is tried."""
        try:
            yield
        except Exception as error:
            if self._lost is None:
                self._lost = str(error)
                first = str(error).splitlines()[0]
                warnings.warn(
                    f"MLflow at {_shown(self.uri)} has not taken everything ({first}); see the run folder", stacklevel=4
                )


def check_mlflow(config: MlflowConfig, storage: str) -> str:
    """The URI of the tracking store, which answers. Raises ConfigError without MLflow or for a password in the config,
    and StorageError where the store cannot be used."""
    if find_spec("mlflow") is None:
        raise ConfigError(
            "MLflow is not installed.",
            where="tracking.mlflow",
            fix="pip install 'mtl-ray[mlflow]', or tracking.mlflow=null",
        )
    if config.uri is not None and urlsplit(config.uri).password:
        raise ConfigError(
            "A config holds no passwords: it is stored with every run.",
            where="tracking.mlflow.uri",
            found=_shown(config.uri),
            fix="leave it out and set MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    uri = config.uri or os.environ.get(ENVIRONMENT)
    if uri is None:
        if "://" in storage and not storage.startswith("file://"):
            raise ConfigError(
                "MLflow needs a store: its default, a file in `storage`, cannot be a remote one.",
                where="tracking.mlflow.uri",
                found=f"nothing, and storage={storage}",
                allowed="http://HOST:5000, or sqlite:///FILE",
            )
        uri = f"sqlite:///{Path(storage.removeprefix('file://')).absolute()}/mlflow.db"
    if uri.startswith(("http://", "https://")):
        try:
            requests.get(uri, timeout=5)
        except requests.RequestException as error:
            raise _unusable(uri, error) from error
    return uri


def add_report(run: Path, report: Path) -> None:
    """Upload the report of the run in folder `run` to its MLflow run, where it has one."""
    tracked = _noted_run(run)
    if tracked is not None:
        tracked.log_files([report])


def add_metrics(run: Path, values: Mapping[str, Any], step: int) -> None:
    """Add what an evaluation found to the MLflow run of the training in folder `run`, where it has one."""
    tracked = _noted_run(run)
    if tracked is not None:
        tracked.log_metrics(values, step)


def _noted_run(run: Path) -> MlflowRun | None:
    """The MLflow run of the training in folder `run`; None where it has none, or it cannot be reached from here, of
    which is warned: what was to be added is in the folder."""
    file = run / RUN_FILE
    if not file.is_file():
        return None
    noted = json.loads(file.read_text())
    try:
        uri = check_mlflow(MlflowConfig(uri=noted["uri"]), str(run.parent))
        with _told(uri):
            return MlflowRun(uri, noted["run_id"])
    except UserError as error:
        warnings.warn(f"nothing is added to the MLflow run: {error}", stacklevel=3)
        return None


def flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """The leaves of a config tree by their dotted names, as text."""
    leaves: list[tuple[str, str]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            leaves += flat(value, f"{name}.")
        else:
            leaves.append((name, value if isinstance(value, str) else json.dumps(value, default=str)))
    return leaves


def _client(uri: str) -> MlflowClient:
    # Its own patience is minutes for each request; the training waits for none of them so long.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from mlflow import MlflowClient

    for name in ("mlflow.store.db.utils", "mlflow.tracking", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _experiment(client: MlflowClient, name: str, uri: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    artifacts = None  # as the server has it
    if uri.startswith("sqlite:///"):  # beside the database, not in whatever folder we run
        artifacts = (Path(uri.removeprefix("sqlite:///")).absolute().parent / "mlflow_artifacts").as_uri()
    return str(client.create_experiment(name, artifact_location=artifacts))


@contextmanager
def _told(uri: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _unusable(uri, error) from error


def _unusable(uri: str, error: Exception) -> StorageError:
    return StorageError(
        "The MLflow store cannot be used.",
        where="tracking.mlflow.uri",
        found=f"{_shown(uri)}: {str(error).splitlines()[0]}",
        fix="start the server, correct the URI or MLFLOW_TRACKING_URI, or tracking.mlflow=null",
    )


def _shown(uri: str) -> str:
    """The URI without its password."""
    parts = urlsplit(uri)
    return uri.replace(f":{parts.password}@", ":***@") if parts.password else uri


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _metric_name(name: str) -> str:
    """MLflow takes letters, digits and `_-./ :`."""
    return "".join(letter if letter.isalnum() or letter in "_-./ :" else "_" for letter in name)
