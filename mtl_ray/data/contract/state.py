"""What the contract keeps of a bucket's rows, so that buckets can be put together later, feature by feature."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mtl_ray.data.contract.counts import ContractCounts
from mtl_ray.data.contract.feature_counts import (
    Distribution,
    FeatureCounts,
    count_by_part,
    feature_distributions,
    merged_distribution,
)
from mtl_ray.data.contract.label_days import LabelDays
from mtl_ray.data.contract.missing import missing_rows
from mtl_ray.data.contract.names import view_names
from mtl_ray.data.contract.row_rules import RowVerdict
from mtl_ray.data.contract.view_counts import view_ages, view_counts
from mtl_ray.data.distributions import CategoryCounts, NumberDistribution
from mtl_ray.data.labels import Labels
from mtl_ray.data.service_spec import ServiceSpec
from mtl_ray.data.spine import EVENT_TIMESTAMP
from mtl_ray.tasks import TaskConfig

_COUNTS_FILE = "counts.json"
_INDEX_FILE = "distributions.json"


class Key(NamedTuple):
    """What a distribution is of."""

    subject: str
    """A feature, or for ages a view."""
    what: Literal["train", "test", "age"]


@dataclass(frozen=True, eq=False)
class ContractState:
    """Counts, and the distributions of features in the training and the test part and of ages.

    Merging is exact: the same rows give the same state however they are cut. A key is absent where the values could
    not be read (wrong type) or the join does not tell the ages.
    """

    counts: ContractCounts
    distributions: Mapping[Key, Distribution]

    @classmethod
    def of(
        cls,
        table: pa.Table,
        parts: np.ndarray,
        labels: Labels,
        tasks: Mapping[str, TaskConfig],
        spec: ServiceSpec,
        verdict: RowVerdict,
    ) -> ContractState:
        """The state of one bucket.

        `table`: the joined rows that go on, raw, with `<view>__feature_timestamp` where the join tells it; `parts`
        (int8 `[rows]`, index into PARTS) and `labels` are theirs. `verdict` is that on the whole bucket. Raises
        `DataError` for a categorical column with fractions.
        """
        features: dict[str, FeatureCounts] = {}
        distributions: dict[Key, Distribution] = {}
        empty: dict[str, np.ndarray] = {}
        for feature in spec.features:
            column = table[feature.name]
            missing = missing_rows(column, feature)
            features[feature.name] = FeatureCounts.of(feature, column, parts, missing)
            for part, found in feature_distributions(feature, column, parts).items():
                distributions[Key(feature.name, "train" if part == "train" else "test")] = found
            if feature.view is not None:
                empty[feature.view] = missing & empty.get(feature.view, True)
        views = {}
        for view in view_names(spec):
            ages = view_ages(view, table)
            if ages is not None:
                distributions[Key(view, "age")] = ages
            views[view] = view_counts(table, empty.get(view), ages)
        counts = ContractCounts(
            rows=count_by_part(parts),
            quarantined=verdict.broken,
            quarantine_reasons=verdict.quarantined,
            kept_reasons=verdict.kept,
            features=features,
            views=views,
            days=LabelDays.of(table[EVENT_TIMESTAMP], parts, labels, tasks),
        )
        return cls(counts, distributions)

    @staticmethod
    def merged(states: Sequence[ContractState]) -> ContractState:
        """The state of all rows of `states` (at least one), all in memory. See `merged_distributions` for many."""
        return ContractState(
            ContractCounts.merged([state.counts for state in states]), dict(merged_distributions(states))
        )

    def write(self, folder: Path) -> None:
        """Write into the folder `folder`, made where absent: counts.json, and one Parquet file a distribution.

        Raises `OSError` where the disk does not take it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        index = []
        for number, (key, distribution) in enumerate(self.distributions.items()):
            name = f"{number:04d}.parquet"
            # Numbers that are all different gain nothing by a dictionary or a better compression, and cost time.
            pq.write_table(
                distribution.to_arrow(), folder / name, compression="lz4", use_dictionary=False, write_statistics=False
            )
            kind = "number" if isinstance(distribution, NumberDistribution) else "category"
            index.append([*key, kind, name])
        (folder / _INDEX_FILE).write_text(json.dumps(index))
        (folder / _COUNTS_FILE).write_text(self.counts.model_dump_json())

    @staticmethod
    def read(folder: Path) -> ContractState:
        """What `write` wrote; distributions are read from their files when they are asked for, each time anew."""
        counts = ContractCounts.model_validate_json((folder / _COUNTS_FILE).read_bytes())
        index = json.loads((folder / _INDEX_FILE).read_text())
        files = {Key(subject, what): (kind, folder / name) for subject, what, kind, name in index}
        return ContractState(counts, _Stored(files))


def merged_distributions(states: Sequence[ContractState]) -> Iterator[tuple[Key, Distribution]]:
    """Key and distribution over all rows of `states`, one after the other; keys that a state lacks are left out.

    With stored states, only one key's distributions are in memory at a time.
    """
    for key in states[0].distributions:
        if all(key in state.distributions for state in states):
            yield key, merged_distribution(_each(states, key), key.subject)


def _each(states: Iterable[ContractState], key: Key) -> Iterator[Distribution]:
    for state in states:
        yield state.distributions[key]


class _Stored(Mapping[Key, Distribution]):
    def __init__(self, files: Mapping[Key, tuple[str, Path]]) -> None:
        self._files = files

    def __getitem__(self, key: Key) -> Distribution:
        kind, file = self._files[key]
        table = pq.read_table(file, partitioning=None)
        return NumberDistribution.from_arrow(table) if kind == "number" else CategoryCounts.from_arrow(table)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, key: object) -> bool:
        return key in self._files
