"""What a run says of its progress: files and TensorBoard always, MLflow where the config asks for it."""

from mtl_ray.tracking.config import MlflowConfig, TrackingConfig
from mtl_ray.tracking.metrics_log import METRICS_FILE, TENSORBOARD_FOLDER, MetricsLog, read_metrics
from mtl_ray.tracking.mlflow_run import MlflowRun, add_metrics, add_report, check_mlflow

__all__ = [
    "METRICS_FILE",
    "TENSORBOARD_FOLDER",
    "MetricsLog",
    "MlflowConfig",
    "MlflowRun",
    "TrackingConfig",
    "add_metrics",
    "add_report",
    "check_mlflow",
    "read_metrics",
]
