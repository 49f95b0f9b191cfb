"""When the rows of a finished training set have last shown each value."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mtl_ray.data.eviction import NEVER, times_of
from mtl_ray.data.fitted_preprocessing import LIST_PREFIX
from mtl_ray.data.manifest import ROW_GROUP_ROWS
from mtl_ray.data.packing import unpacked
from mtl_ray.data.snapshot_files import Snapshot
from mtl_ray.data.spine import EVENT_TIMESTAMP
from mtl_ray.data.splits import PARTS
from mtl_ray.storage import fetch, is_remote


def last_sights(snapshot: Snapshot, by_time: bool) -> dict[str, np.ndarray]:
    """Vocabulary -> last sight of each value in what are training rows from now on, int64 `[values]`.

    What its preprocessing keeps is of its own training part. By time its other parts become training rows too, and are
    read; where it keeps nothing, all that it has.
    """
    fitted = snapshot.manifest.preprocessing.vocabularies
    found = {
        name: np.full(len(item.values), NEVER) if item.last_seen is None else np.array(item.last_seen, dtype=np.int64)
        for name, item in fitted.items()
    }
    known = all(item.last_seen is not None for item in fitted.values())
    for part in [*([] if known else PARTS[:1]), *(PARTS[1:] if by_time else ())]:
        for place, _ in snapshot.files(part):
            with _local(place) as file:
                _look(file, snapshot, found)
    return found


def _look(file: Path, snapshot: Snapshot, found: dict[str, np.ndarray]) -> None:
    """Update `found` by the rows of a shard."""
    schema = snapshot.schema
    columns = ["categorical"] if schema.categorical else []
    columns += [LIST_PREFIX + item.name for item in schema.lists]
    if not columns:
        return
    for batch in pq.ParquetFile(file).iter_batches(ROW_GROUP_ROWS, columns=[*columns, EVENT_TIMESTAMP]):
        rows = pa.table(batch)
        times = times_of(rows[EVENT_TIMESTAMP]).to_numpy()
        if schema.categorical:
            ids = unpacked(rows["categorical"])
            for position, feature in enumerate(schema.categorical):
                _see(found, snapshot, feature.vocabulary, ids[:, position : position + 1], times)
        for item in schema.lists:
            _see(found, snapshot, item.vocabulary, unpacked(rows[LIST_PREFIX + item.name]), times)


def _see(found: dict[str, np.ndarray], snapshot: Snapshot, vocabulary: str, ids: np.ndarray, times: np.ndarray) -> None:
    """`ids`: `[rows, width]`; `times`: `[rows]`."""
    numbers = ids.reshape(-1) - snapshot.manifest.preprocessing.vocabularies[vocabulary].first_known
    each = np.repeat(times, ids.shape[1])
    np.maximum.at(found[vocabulary], numbers[numbers >= 0], each[numbers >= 0])


@contextmanager
def _local(place: str) -> Iterator[Path]:
    if not is_remote(place):
        yield Path(place)
        return
    with tempfile.TemporaryDirectory(prefix="shard-") as folder:
        file = Path(folder) / "shard.parquet"
        fetch(place, file)
        yield file
