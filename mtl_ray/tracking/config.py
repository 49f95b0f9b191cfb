"""Config of what receives a run's metrics beside its own folder."""

from __future__ import annotations

from pydantic import Field

from mtl_ray.schema import Settings


class MlflowConfig(Settings):
    """An MLflow run for every training."""

    uri: str | None = None
    """Tracking store: http(s)://HOST, sqlite:///FILE or a database; null: MLFLOW_TRACKING_URI, else
    `<storage>/mlflow.db`. Credentials come from the environment alone (MLFLOW_TRACKING_USERNAME and _PASSWORD, or
    _TOKEN)."""
    experiment: str | None = Field(default=None, min_length=1)
    """null: the config's `name`."""
    register_as: str | None = Field(default=None, min_length=1)
    """Name of a registered model, of which the best checkpoint becomes a version; its files are uploaded then. null: no
    model is registered, and of the checkpoint only its list of checksums is uploaded."""


class TrackingConfig(Settings):
    """`metrics.jsonl` and TensorBoard events are written always."""

    mlflow: MlflowConfig | None = None
    """null: no MLflow."""
