"""What a training set is built from and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ByteSize, Field

from mtl_ray.data.contract.config import ContractConfig
from mtl_ray.data.preprocessing import PreprocessingConfig
from mtl_ray.data.sampling import NegativeSamplingConfig, OverSamplingConfig
from mtl_ray.data.splits import SplitConfig
from mtl_ray.schema import Settings

NOT_IN_SHARDS = {"spine", "memory_budget", "runs_on"}
"""Fields on which no byte of a shard depends; the spine counts by its content."""


class TrainingSetConfig(Settings):
    """What is learnt from, how it is split, checked, sampled and encoded."""

    spine: str
    """Parquet file or folder: join keys, event_timestamp with a time zone, labels (NULL: not observed), context."""
    split: SplitConfig
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    contract: ContractConfig = ContractConfig()
    """What the joined rows must look like."""
    rows_per_shard: Annotated[int, Field(ge=1)] = 65536
    shuffle_seed: int = 0
    """Seed of the order in which the training part's rows are written, so that every shard is a fair sample."""
    sample_weight: str | None = None
    """Spine column with a weight >= 0 for each row in every loss."""
    negative_sampling: NegativeSamplingConfig | None = None
    """Leaves out training rows that are negative for one binary task."""
    over_sampling: OverSamplingConfig | None = None
    """Repeats training rows that are positive for one binary task."""
    source_version: str | None = None
    """Any text. Files are known by their content, but of a warehouse's table only the name is known: another text
    here makes another training set of the same tables."""
    memory_budget: ByteSize | None = None
    """Memory that building may take in one process, such as 4GB; null: the offline store's, else half of what is
    free (on Ray of that, each task's share)."""
    runs_on: Literal["auto", "local", "ray"] = "auto"
    """local: in one process; ray: as Ray Data tasks, on RAY_ADDRESS or on all cores of this machine; auto: ray where
    a cluster is there already or the spine has 2 million rows or more, for which starting one pays."""
