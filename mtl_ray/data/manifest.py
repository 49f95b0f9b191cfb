"""What a training-set snapshot says about itself, and where its files lie."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from mtl_ray.data.labels import LabelRate
from mtl_ray.data.preprocessing import Preprocessing
from mtl_ray.data.service_spec import ServiceSpec
from mtl_ray.data.source_files import SourceFingerprint
from mtl_ray.data.splits import SplitBoundaries, SplitConfig
from mtl_ray.data.vocabulary_growth import Growth
from mtl_ray.schema import BatchSchema, LabelStatistics, Settings

FORMAT_VERSION = 3
"""Raised whenever equal inputs would give other shards; part of every snapshot's id."""

MANIFEST_FILE = "manifest.json"

LABELS_FILE = "labels.parquet"
"""How often each label value occurs, by part and task."""

ROW_GROUP_ROWS = 8192
"""Rows of a Parquet row group, the unit that training reads and shuffles."""


class FileRecord(Settings):
    """One shard."""

    path: str
    """Relative to the snapshot's folder."""
    rows: int
    bytes: int
    sha256: str


class SpineRecord(Settings):
    """The spine that the snapshot was built from."""

    path: str
    sha256: str
    """Of its files' content, in the order of their names."""
    rows: int


class AppendRecord(Settings):
    """What a training set was put on top of."""

    base: str
    """Id of the training set whose rows and preprocessing it took over."""
    since: datetime
    """Its own rows are of this time or later."""
    base_rows: int
    vocabularies: dict[str, Growth]
    """Vocabulary -> what the new rows added to it."""


class Manifest(Settings):
    """`manifest.json`, written last. Its presence in a folder of the final name means that the snapshot is whole."""

    format_version: int
    id: str
    """Hash of everything that the shards depend on."""
    created: datetime
    versions: dict[str, str]
    """Package -> version that built it."""
    service: ServiceSpec
    registry_hash: str
    sources: tuple[SourceFingerprint, ...]
    spine: SpineRecord
    split: SplitConfig
    boundaries: SplitBoundaries
    rows: dict[str, int]
    """Part -> rows that are written: those of the training part after sampling."""
    rows_before_sampling: dict[str, int]
    quarantined: int
    """Rows that broke the contract; they lie in the folder `quarantine`."""
    files: dict[str, tuple[FileRecord, ...]]
    """Part -> shards in row order."""
    row_group_rows: int
    """Rows of each row group; the last group of a file may have fewer."""
    shuffle_seed: int
    """The training part's rows are permuted with this seed; the other parts keep the spine's order."""
    join_keys: tuple[str, ...]
    """Raw join-key columns of the shards."""
    group_by: str | None
    """Raw column that metrics may group by."""
    sample_weight: str | None
    """Spine column of the row weights; None: every row weighs 1."""
    batch_schema: BatchSchema = Field(alias="schema")
    preprocessing: Preprocessing
    missing: dict[str, float]
    """Feature -> share of the training rows without a value, see `Preprocessing.missing`."""
    label_statistics: dict[str, LabelStatistics]
    """Task -> its labels in the training part."""
    label_rates: dict[str, dict[str, LabelRate]]
    """Part -> task -> number and mean of the observed labels, before sampling."""
    appended: AppendRecord | None = None
    """None: all rows were built together."""
