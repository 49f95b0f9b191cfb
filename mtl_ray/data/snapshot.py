"""Building a training set: point-in-time join, contract, split, fitted preprocessing, encoded shards and a manifest.

The same inputs give the same snapshot, which is found again instead of being built twice. A build that was killed goes
on where it stood.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from mtl_ray.data.building.append import after, find_newest, open_base
from mtl_ray.data.building.inputs import Inputs
from mtl_ray.data.building.pipeline import Pipeline
from mtl_ray.data.building.place import place_of
from mtl_ray.data.building.shards import check_column_names
from mtl_ray.data.building.spine_check import check_spine
from mtl_ray.data.building.work_folder import move_into_place, work_folder
from mtl_ray.data.feature_store import FeatureRepo, FeaturesConfig
from mtl_ray.data.join.progress import Say
from mtl_ray.data.manifest import MANIFEST_FILE
from mtl_ray.data.snapshot_files import Snapshot, open_snapshot
from mtl_ray.data.staging import writable_place
from mtl_ray.data.training_set_config import TrainingSetConfig
from mtl_ray.errors import ConfigError
from mtl_ray.storage import below, is_file, is_remote, upload
from mtl_ray.tasks import TaskConfig

__all__ = ["TRAINING_SETS", "Snapshot", "TrainingSetConfig", "build_training_set", "open_snapshot"]

TRAINING_SETS = "training_sets"
"""Below a storage."""


def build_training_set(
    storage: str,
    features: FeaturesConfig,
    training_set: TrainingSetConfig,
    tasks: Mapping[str, TaskConfig],
    group_by: str | None = None,
    progress: Say | None = None,
    since: datetime | None = None,
    base: str | Path | None = None,
    latest_views: Sequence[str] = (),
    newer: bool = False,
) -> Snapshot:
    """The training set in `<storage>/training_sets/<service>-<id>`, found or built.

    Args:
        storage: folder that all processes see, or a place in an object store.
        features, training_set, tasks: what to build.
        group_by: join key or spine column that metrics group by; it is kept raw in the shards.
        progress: told each step in a sentence.
        since: only spine rows from this time on are new; they are put on top of `base`, whose fitted preprocessing is
            kept.
        base: a finished training set; None: the newest of the service in `storage`.
        latest_views: views of which every row gets the newest values, whatever its time. That leaks, as the leak meter
            measures: no config can ask for it, nothing is appended to it, and its sets belong in a storage of their
            own.
        newer: instead of `since`, from the base's last row on: the base itself is the result where the spine has no
            later row, and the whole set where there is no base. Asked for again, after a kill or at its end, it comes
            to the same.

    Raises:
        StorageError, FeatureStoreError, DataError, SnapshotError, ConfigError: each before anything stands under the
            final name; mistakes in config, spine and split come up before the join.
    """
    say = progress or (lambda _: None)
    place = below(storage, TRAINING_SETS)
    folder = writable_place(place).absolute()  # Ray's workers may stand in other folders
    uri = place if is_remote(place) else None
    say(f"reading feature service {features.service} from {features.repo}")
    if since is not None and latest_views:
        raise ValueError("latest_views cannot be appended")
    inputs = Inputs.read(FeatureRepo(features), training_set, tasks, group_by, tuple(latest_views))
    if newer:
        base = base or find_newest(place, features.service)
        since = None if base is None else after(base)
        if base is None:
            say("there is no training set of the service yet: all rows are taken")
    old = None if since is None else open_base(place, base, since, inputs.repo, training_set, tasks, group_by)
    if newer and old is not None and not old.is_behind(inputs.spine):
        say(f"the spine has no row that is newer than those of {old.snapshot.place}")
        return old.snapshot
    identity = inputs.identity(old)
    name = f"{features.service}-{identity[:12]}"
    final = folder / name
    if uri is not None and is_file(below(uri, name, MANIFEST_FILE)):
        say(f"found the training set {below(uri, name)}")
        return open_snapshot(below(uri, name))
    if final.exists():
        say(f"found the training set {final}")
        return open_snapshot(final) if uri is None else _sent(final, below(uri, name), say)
    check_column_names(inputs.carried)
    with work_folder(final, say) as work:
        if uri is not None and is_file(below(uri, name, MANIFEST_FILE)):
            return open_snapshot(below(uri, name))
        if uri is None and final.exists():  # built by a process that this one waited for
            return open_snapshot(final)
        spine = inputs.spine if old is None else old.new_rows(inputs.spine, work, say)
        say(f"checking {spine.num_rows:,} spine rows")
        check_spine(spine, inputs.repo.spec, tasks, training_set.contract, group_by)
        split = training_set.split.plan(spine.scan)
        with place_of(_runs_on(training_set, uri), spine.num_rows, say) as (runs_on, budget):
            build = inputs.plan(work, spine, split, training_set.memory_budget or budget, identity)
            manifest = Pipeline(inputs, build, old, identity, runs_on, final, say).finish(spine)
        (build.result / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=1, by_alias=True))
        move_into_place(build.result, final)
        if uri is not None:
            return replace(_sent(final, below(uri, name), say), found=False)
    say(f"wrote the training set {final}")
    return replace(open_snapshot(final), found=False)


def _sent(final: Path, uri: str, say: Say) -> Snapshot:
    """Send the finished folder to the object store, its manifest last; the folder is removed."""
    say(f"sending the training set to {uri}")
    upload(final, uri, last=(MANIFEST_FILE,))
    shutil.rmtree(final)
    return open_snapshot(uri)


def _runs_on(config: TrainingSetConfig, uri: str | None) -> Literal["auto", "local", "ray"]:
    """Where the pieces of a build may run: those on other nodes need a folder that all nodes see."""
    if uri is None:
        return config.runs_on
    if config.runs_on == "ray":
        raise ConfigError(
            "A training set in an object store is built by one process.",
            where="training_set.runs_on",
            found=f"ray, with storage at {uri}",
            allowed="auto or local; ray with a storage that all nodes see as a folder",
        )
    return "local"
