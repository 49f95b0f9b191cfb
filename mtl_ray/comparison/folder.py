"""The folder of a comparison. One that was interrupted, or in which a training failed, is gone on with.

trainings.json     what is compared, and the run of each training that has begun
comparison.html    the result to read, once there is one
comparison.json    the same as data
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mtl_ray.comparison.page import RESULT_FILE
from mtl_ray.config import Config
from mtl_ray.data.manifest import MANIFEST_FILE
from mtl_ray.data.snapshot import Snapshot
from mtl_ray.data.staging import ResultFolder
from mtl_ray.errors import CheckpointError
from mtl_ray.run_folder import RunFolder, write_json
from mtl_ray.storage import below, is_file, newest_first, read_bytes

COMPARISONS = "comparisons"
"""Below a storage."""

TRAININGS_FILE = "trainings.json"


@dataclass
class ComparisonFolder:
    """One comparison, at whose end there is a result."""

    results: ResultFolder
    created: datetime
    asked: dict[str, Any]
    """What is compared; JSON types only."""
    runs: dict[str, str]
    """Training that has begun -> where its run lies."""

    @classmethod
    def of(cls, configs: Sequence[Config], split: str, snapshot: Snapshot) -> ComparisonFolder:
        """The newest comparison of exactly these configs on this training set that lacks a training, or a new one in
        `<storage>/comparisons/`, the storage of the first config."""
        asked = {
            "configs": [config.model_dump(mode="json") for config in configs],
            "split": split,
            "training_set": snapshot.manifest.id,
        }
        place = below(configs[0].storage, COMPARISONS)
        for name in newest_first(place, f"*/{TRAININGS_FILE}"):
            found = json.loads(read_bytes(below(place, name)))
            folder = below(place, name.rsplit("/", 1)[0])
            if found["asked"] == asked and not _ended(folder):
                created = datetime.fromisoformat(found["created"])
                return cls(ResultFolder.at(folder), created, asked, found["runs"])
        created = datetime.now(UTC)
        new = cls(_new(place, f"{created:%Y%m%d-%H%M%S}-{configs[0].name}"), created, asked, {})
        new._write()
        return new

    def run_of(self, config: Config, snapshot: Snapshot) -> RunFolder:
        """The run of a training: a new one where it has none, or where that is gone."""
        if config.name in self.runs:
            try:
                return RunFolder.open(self.runs[config.name])
            except CheckpointError:  # removed, so that it begins anew
                del self.runs[config.name]
        run = RunFolder.create(config, json.loads((snapshot.path / MANIFEST_FILE).read_text()))
        self.runs[config.name] = run.place
        self._write()
        return run

    def _write(self) -> None:
        found = {"created": self.created.isoformat(), "asked": self.asked, "runs": self.runs}
        write_json(self.results.path / TRAININGS_FILE, found)
        self.results.publish()


def _new(place: str, stem: str) -> ResultFolder:
    name, number = stem, 1
    while is_file(below(place, name, TRAININGS_FILE)):
        number += 1
        name = f"{stem}-{number}"
    return ResultFolder.at(below(place, name))


def _ended(folder: str) -> bool:
    """Whether all its trainings have ended well."""
    result = below(folder, RESULT_FILE)
    return is_file(result) and all(item["error"] is None for item in json.loads(read_bytes(result))["trainings"])
