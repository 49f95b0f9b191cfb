"""Which comparison is gone on with, and which of its runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mtl_ray.comparison.folder import TRAININGS_FILE, ComparisonFolder
from mtl_ray.comparison.page import RESULT_FILE
from mtl_ray.config import Config
from mtl_ray.data.snapshot import Snapshot
from tests.unit.comparison.configs import config
from tests.unit.data.test_snapshot import Shop


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    root = tmp_path_factory.mktemp("comparison_folder")
    return Shop(root).build(root / "runs")


@pytest.fixture
def configs(tmp_path: Path) -> list[Config]:
    return [config(name, storage=str(tmp_path)) for name in ("one", "other")]


def ended(folder: ComparisonFolder, *errors: str | None) -> None:
    result = {"trainings": [{"error": error} for error in errors]}
    (folder.results.path / RESULT_FILE).write_text(json.dumps(result))


def test_the_same_comparison_is_gone_on_with_until_it_has_ended_well(configs: list[Config], snapshot: Snapshot) -> None:
    first = ComparisonFolder.of(configs, "test", snapshot)
    run = first.run_of(configs[0], snapshot)
    again = ComparisonFolder.of(configs, "test", snapshot)
    assert (again.results, again.created, again.runs) == (first.results, first.created, {"one": run.place})
    assert again.run_of(configs[0], snapshot) == run
    ended(first, None, "Training diverged")
    assert ComparisonFolder.of(configs, "test", snapshot).results == first.results
    ended(first, None, None)
    new = ComparisonFolder.of(configs, "test", snapshot)
    assert new.results != first.results
    assert new.runs == {}


def test_another_comparison_begins_anew(configs: list[Config], snapshot: Snapshot, tmp_path: Path) -> None:
    first = ComparisonFolder.of(configs, "test", snapshot)
    others = [
        ComparisonFolder.of(configs, "validation", snapshot),
        ComparisonFolder.of(configs[:1], "test", snapshot),
        ComparisonFolder.of([configs[0], configs[1].model_copy(update={"seed": 1})], "test", snapshot),
    ]
    folders = {folder.results.path for folder in [first, *others]}
    assert len(folders) == 4
    assert {folder.parent for folder in folders} == {tmp_path / "comparisons"}
    assert ComparisonFolder.of(configs, "test", snapshot).results == first.results


def test_a_run_that_was_removed_begins_anew(configs: list[Config], snapshot: Snapshot) -> None:
    folder = ComparisonFolder.of(configs, "test", snapshot)
    first = folder.run_of(configs[0], snapshot)
    second = folder.run_of(configs[1], snapshot)
    shutil.rmtree(first.path)
    new = folder.run_of(configs[0], snapshot)
    assert new.config() == configs[0]
    kept = json.loads((folder.results.path / TRAININGS_FILE).read_text())["runs"]
    assert kept == {"one": new.place, "other": second.place}
