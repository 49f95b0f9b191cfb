"""The folder of a search.

config.yaml        the config that the search started from
space.yaml         the space file, with its defaults
search.json        how it was asked for, and what it found
training_set.json  manifest of the training set
trials.parquet     a row a trial
epochs.parquet     a row an epoch of a trial
front/             configs of the best trials, ready for jobs/train.py
tuning.html        all of it to read
runs/              run folders of trials with several workers
tune/              Ray Tune's own: trials with their checkpoints, and what it needs to go on
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from mtl_ray.config import Config, load_config
from mtl_ray.data.staging import ResultFolder
from mtl_ray.errors import CheckpointError
from mtl_ray.run_folder import environment, write_config, write_json
from mtl_ray.schema import Settings
from mtl_ray.storage import below, cache_folder, check_bucket, is_file, is_remote, mirror, newest_first
from mtl_ray.tuning.load import load_space
from mtl_ray.tuning.settings import POPULATIONS, SearchSettings

TUNE, RUNS = "tune", "runs"
SEARCH_FILE, TRIALS_FILE, EPOCHS_FILE = "search.json", "trials.parquet", "epochs.parquet"


class Asked(Settings):
    """How a search was asked for."""

    created: datetime
    trials: int = Field(ge=1)
    concurrent: int = Field(ge=1)
    time_budget: float | None = None
    """Seconds."""
    training_set: str
    """Absolute folder, or URI."""
    training_set_id: str


class SearchFolder(ResultFolder):
    """A search, in a folder or an object store. What Tune and the trials' runs write there, they write themselves."""

    @classmethod
    def create(cls, config: Config, settings: SearchSettings, asked: Asked, manifest: str) -> SearchFolder:
        """A new folder `<storage>/searches/<name>-<UTC time>`."""
        place = below(config.storage, "searches")
        place = place if is_remote(place) else str(Path(place.removeprefix("file://")).absolute())
        stem = f"{config.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        name, number = stem, 1
        while is_file(below(place, name, SEARCH_FILE)):
            number += 1
            name = f"{stem}-{number}"
        folder = cls.at(below(place, name))
        path = folder.path
        write_config(path / "config.yaml", config)
        tree = settings.model_dump(mode="json", exclude_unset=True)
        (path / "space.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
        (path / "training_set.json").write_text(manifest)
        write_json(path / "environment.json", environment())
        write_json(path / SEARCH_FILE, {"asked": asked.model_dump(mode="json")})
        folder.publish(leave_out=(TUNE, RUNS), last=(SEARCH_FILE,))
        return folder

    @classmethod
    def open(cls, place: Path | str) -> SearchFolder:
        """An existing search, by its folder or URI. Raises CheckpointError where there is none."""
        uri = str(place).rstrip("/") if is_remote(place) else None
        path = Path(place).absolute()
        if not is_file(below(uri or str(path), SEARCH_FILE)):
            check_bucket(uri or str(path))
            raise CheckpointError(
                "This folder holds no search.",
                where=uri or str(path),
                found=f"no {SEARCH_FILE}" if uri is not None or path.is_dir() else "no such folder",
                allowed="a folder that jobs/tune.py printed as `run`",
            )
        return cls(path) if uri is None else cls(mirror(uri, cache_folder(uri), leave_out=(TUNE, RUNS)), uri)

    @property
    def tune(self) -> str:
        """Where Ray Tune's own folder is."""
        return below(self.place, TUNE)

    def has_begun(self) -> bool:
        """Whether Tune has written down where the search stands, from which it can go on."""
        states = ("experiment_state-*.json", "search_gen_state-*.json")
        populations = ("experiment_state-*.json", "basic-variant-state-*.json")
        wanted = populations if self.settings().scheduler.name in POPULATIONS else states
        return all(newest_first(self.tune, state) for state in wanted)

    def has_ended(self) -> bool:
        """Whether it has its result."""
        return "result" in self.result()

    @property
    def trials(self) -> Path:
        """The table of trials. Raises CheckpointError where the search has not come to its end."""
        file = self.path / TRIALS_FILE
        if not file.is_file():
            raise CheckpointError(
                "This search has not finished: it has no trials.parquet.",
                where=self.place,
                fix="go on with it: jobs/tune.py --resume",
            )
        return file

    def config(self) -> Config:
        """The config that the search started from."""
        return load_config(self.path / "config.yaml")

    def settings(self) -> SearchSettings:
        """The space file."""
        return load_space(self.path / "space.yaml")

    def result(self) -> dict[str, Any]:
        """What `search.json` says."""
        found: dict[str, Any] = json.loads((self.path / SEARCH_FILE).read_text())
        return found

    def asked(self) -> Asked:
        """How the search was asked for."""
        return Asked.model_validate(self.result()["asked"])


def newest_search(config: Config, settings: SearchSettings, asked: Asked) -> SearchFolder | None:
    """The newest search of the storage that was asked for as this one: the same config and space, as many trials in the
    same time, on the same training set. None where there is none. How many run at a time may differ."""

    def essence(config: Config, settings: SearchSettings, asked: Asked) -> Any:
        trees = (config.model_dump(mode="json"), settings.model_dump(mode="json"))
        return trees, asked.trials, asked.time_budget, asked.training_set_id

    wanted = essence(config, settings, asked)
    searches = below(config.storage, "searches")
    names = newest_first(searches, f"{config.name}-*/{SEARCH_FILE}")
    folders = [SearchFolder.open(below(searches, name.rsplit("/", 1)[0])) for name in names]
    alike = [folder for folder in folders if essence(folder.config(), folder.settings(), folder.asked()) == wanted]
    return max(alike, key=lambda folder: folder.asked().created, default=None)
