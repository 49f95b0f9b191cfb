"""What every piece of a build needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mtl_ray.data.point_in_time import FeatureJoin
from mtl_ray.data.service_spec import ServiceSpec
from mtl_ray.data.splits import SplitPlan
from mtl_ray.data.training_set_config import TrainingSetConfig
from mtl_ray.tasks import TaskConfig


@dataclass(frozen=True)
class Build:
    """A training set in the making; picklable."""

    folder: Path
    """Work folder that all processes see."""
    join: FeatureJoin
    spec: ServiceSpec
    config: TrainingSetConfig
    tasks: Mapping[str, TaskConfig]
    split: SplitPlan
    carried: tuple[str, ...]
    """Raw columns of the shards: join keys, event_timestamp, group key."""

    @property
    def leaks(self) -> bool:
        """Whether rows get the newest values of a view, whatever their own time: for the leak meter alone."""
        return any(view.latest for view in self.join.join.views)

    def bucket_folder(self, bucket: int) -> Path:
        """Where a prepared bucket stands."""
        return self.folder / "buckets" / f"{bucket:05d}"

    def encoded_file(self, bucket: int) -> Path:
        """Fragment of a bucket's encoded rows, labelled by shard."""
        return self.folder / "encoded" / f"{bucket:05d}.arrow"

    @property
    def order_file(self) -> Path:
        """For each training row that is written, in bucket order, its place in the training part; int64."""
        return self.folder / "order.npy"

    @property
    def preprocessing_file(self) -> Path:
        """The fitted preprocessing."""
        return self.folder / "preprocessing.json"

    @property
    def result(self) -> Path:
        """What becomes the training set's folder."""
        return self.folder / "set"
