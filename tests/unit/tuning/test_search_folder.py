"""Which search a job that is submitted again goes on with, on a disk and in an object store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mtl_ray import storage
from mtl_ray.config import Config, parse_config
from mtl_ray.data.staging import ResultFolder
from mtl_ray.tuning.folder import RUNS, SEARCH_FILE, TUNE, Asked, SearchFolder, newest_search
from mtl_ray.tuning.search import _ready
from mtl_ray.tuning.settings import SearchSettings
from tests.s3_server import S3Server, s3_server

SPACE: dict[str, Any] = {
    "space": {
        "training.optimizer.learning_rate": {"loguniform": [1e-3, 1e-1]},
        "tasks.*.weight": {"simplex": ["left", "right"]},
        "model.name": {"choice": ["shared_bottom", "mmoe"], "when": {"mmoe": {"model.num_experts": {"int": [2, 4]}}}},
    },
    "objective": {"validation/left/roc_auc": 1},
}
POPULATION: dict[str, Any] = {
    "space": {"training.optimizer.learning_rate": {"loguniform": [1e-3, 1e-1]}},
    "scheduler": "pbt",
}


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A storage."""
    if request.param == "folder":
        return str(tmp_path / "runs")
    for name, value in {**server.environment, storage.CACHE: str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    return f"s3://{server.bucket}/{tmp_path.name}"


def prepared(place: str, space: dict[str, Any], **keys: Any) -> tuple[Config, SearchSettings]:
    """Config and space as a search has them, from what a user wrote."""
    tree = {
        "name": "small",
        "storage": place,
        "features": {"repo": "repo", "service": "small_v1"},
        "training_set": {"spine": "spine", "split": {"by": "time", "validation": 0.1, "test": 0.1}},
        "tasks": {"left": {"type": "binary"}, "right": {"type": "binary", "weight": 0.5}},
        "model": {"name": "shared_bottom"},
        **keys,
    }
    return _ready(parse_config(tree), SearchSettings.model_validate(space), lambda _: None)


def asked(**keys: Any) -> Asked:
    tree = {
        "created": datetime.now(UTC),
        "trials": 4,
        "concurrent": 2,
        "time_budget": 60.0,
        "training_set": "somewhere",
        "training_set_id": "0123",
        **keys,
    }
    return Asked.model_validate(tree)


@pytest.mark.parametrize("space", [SPACE, POPULATION], ids=["a simplex", "a population"])
def test_a_search_is_found_by_what_was_asked_for(place: str, space: dict[str, Any]) -> None:
    config, settings = prepared(place, space)
    assert newest_search(config, settings, asked()) is None
    made = SearchFolder.create(config, settings, asked(), "{}")
    found = newest_search(*prepared(place, space), asked(concurrent=1, training_set="elsewhere"))
    assert found is not None
    assert found.place == made.place
    assert found.asked() == made.asked()
    other = {**space, "max_failures": 3}
    assert newest_search(*prepared(place, other), asked()) is None
    assert newest_search(*prepared(place, space, seed=1), asked()) is None
    assert newest_search(*prepared(place, space, name="smaller"), asked()) is None
    for keys in ({"trials": 5}, {"time_budget": None}, {"training_set_id": "4567"}):
        assert newest_search(config, settings, asked(**keys)) is None, keys
    newer = SearchFolder.create(config, settings, asked(), "{}")
    assert newer.place != made.place
    found = newest_search(config, settings, asked())
    assert found is not None
    assert found.place == newer.place


def test_a_search_has_begun_when_tune_can_go_on(place: str) -> None:
    folder = SearchFolder.create(*prepared(place, SPACE), asked(), "{}")
    for name, then in (
        ("tuner.pkl", False),  # Tune would restore this, and try one point instead of all
        ("experiment_state-2026-01-01_00-00-00.json", False),  # and this without its searcher
        ("search_gen_state-2026-01-01_00-00-00.json", True),
    ):
        tune = ResultFolder.at(folder.tune)
        (tune.path / name).write_text("{}")
        tune.publish()
        assert folder.has_begun() is then, name


def test_a_search_has_ended_when_its_result_is_there(place: str) -> None:
    config, settings = prepared(place, SPACE)
    folder = SearchFolder.create(config, settings, asked(), "{}")
    assert not folder.has_ended()
    (folder.path / SEARCH_FILE).write_text(json.dumps({**folder.result(), "result": {"wall_seconds": 1.0}}))
    folder.publish(leave_out=(TUNE, RUNS))
    found = newest_search(config, settings, asked())
    assert found is not None
    assert found.has_ended()
