"""Comparison, search, affinity and leak check with `storage: s3://...`: killed, and gone on with from another machine,
of which the empty cache is all that is left to tell."""

from __future__ import annotations

import json
import os
import posixpath
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import yaml
from ray.tune import ExperimentAnalysis

from mtl_ray import storage
from mtl_ray.run_folder import RunFolder
from tests import planted_conflict
from tests.s3_server import SECRET, S3Server, client, s3_server

ROOT = Path(__file__).parents[2]
PLACE = "s3://bucket/conflict"
EPOCHS = 20
"""Of a trial: enough that one is killed in the middle."""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Project:
    """A planted conflict whose storage is a bucket."""

    root: Path
    server: S3Server

    def environment(self, machine: str) -> dict[str, str]:
        """Of a machine with that name, which has a cache of its own."""
        return {**os.environ, **self.server.environment, storage.CACHE: str(self.root / "caches" / machine)}

    def result(self, machine: str, job: str, *options: str) -> tuple[dict[str, Any], str]:
        """What a job prints, and what it says."""
        command = [sys.executable, str(ROOT / "jobs" / f"{job}.py"), *options]
        done = subprocess.run(
            command, cwd=self.root, env=self.environment(machine), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert SECRET not in done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found, done.stderr

    def kill(self, reached: Callable[[str], bool], job: str, *options: str) -> str:
        """Start a job on machine `one` and kill all its processes once `reached` holds of what it has said by then."""
        file = self.root / "said"
        command = [sys.executable, str(ROOT / "jobs" / f"{job}.py"), *options]
        with (
            file.open("w") as said,
            subprocess.Popen(
                command, cwd=self.root, env=self.environment("one"), stdout=subprocess.DEVNULL, stderr=said
            ) as process,
        ):
            while not reached(file.read_text()):
                assert process.poll() is None, file.read_text()
                time.sleep(0.2)
            children = psutil.Process(process.pid).children(recursive=True)
            for each in [psutil.Process(process.pid), *children]:
                each.kill()
            psutil.wait_procs(children, timeout=60)
        return file.read_text()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    root = tmp_path_factory.mktemp("bucket")
    tree = {**planted_conflict.config(root), "storage": PLACE}
    (root / "shared.yaml").write_text(yaml.safe_dump(tree))
    experts = {"name": "cgc", **planted_conflict.EXPERTS["cgc"], **planted_conflict.NARROW}
    (root / "experts.yaml").write_text(yaml.safe_dump({**tree, "name": "experts", "model": experts}))
    with s3_server() as server:
        yield Project(root, server)


@pytest.fixture(autouse=True)
def _environment(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process looks as a third machine would."""
    for name, value in project.environment("test").items():
        monkeypatch.setenv(name, value)


def test_a_comparison_goes_on_with_what_it_had(project: Project) -> None:
    command = ("compare", "--config", "shared.yaml", "--config", "experts.yaml", "--twins", "--parallel", "1")
    # The first training has ended, the second is in the middle.
    project.kill(lambda said: "experts: epoch 1" in said, *command)
    kept = [name for name in storage.sizes(PLACE) if name.endswith("summary.json")]
    assert len(kept) == 1
    assert kept[0].startswith("shared-")
    before = written(project, kept[0])
    result, said = project.result("two", *command)
    assert f"going on with {PLACE}/comparisons/" in said
    assert "shared: trained and evaluated before" in said
    assert not re.search(r"^(shared: epoch|experts: epoch 1,)", said, re.MULTILINE), "it began again from nothing"
    assert written(project, kept[0]) == before
    names = storage.sizes(PLACE)
    runs = {training["name"]: training["run"] for training in result["trainings"]}
    assert sorted(runs) == ["experts", "shared", "shared-twin_left", "shared-twin_right"]
    assert runs["shared"] == f"{PLACE}/{kept[0].split('/')[0]}"
    assert sum(name.endswith("/summary.json") for name in names) == len(runs)
    assert result["harmed"]["shared"]
    folder = result["folder"].removeprefix(f"{PLACE}/")
    page = storage.read_bytes(f"{PLACE}/{folder}/comparison.html").decode()
    for run in runs.values():
        link = f"../../{run.rsplit('/', 1)[-1]}/report.html"
        assert f'href="{link}"' in page
        assert posixpath.normpath(f"{folder}/{link}") in names
    report = storage.read_bytes(f"{runs['shared']}/report.html").decode()
    assert f"../{folder}/comparison.html" in report

    again, said = project.result("two", *command[:5], "--split", "validation")
    assert "going on" not in said
    assert again["folder"] != result["folder"]


def test_a_search_goes_on_and_is_promoted(project: Project) -> None:
    space = {
        "space": {"training.optimizer.learning_rate": {"choice": [0.01, 0.03]}},
        "searcher": "grid",
        "objective": "validation/left/roc_auc",
    }
    (project.root / "space.yaml").write_text(yaml.safe_dump(space))
    command = ("tune", "--config", "shared.yaml", "--space", "space.yaml", "--concurrent", "1")
    command = (*command, f"training.epochs={EPOCHS}")

    def second_trial_has_a_checkpoint(_: str) -> bool:
        states = storage.newest_first(f"{PLACE}/searches", "*/tune/experiment_state-*.json")
        if not states:
            return False
        tune = f"{PLACE}/searches/{posixpath.dirname(states[0])}"
        try:
            trials = ExperimentAnalysis(tune).trials
        except json.JSONDecodeError:  # it is being written anew
            return False
        return any(trial.config["point"]["number"] == 1 and trial.checkpoint for trial in trials)

    said = re.search(r"search folder (\S+)", project.kill(second_trial_has_a_checkpoint, *command))
    assert said is not None
    place = said[1]
    names = storage.sizes(place)
    assert "trials.parquet" not in names
    (log,) = (name for name in names if "/trial-0-" in name and name.endswith("result.json"))
    before = storage.read_bytes(f"{place}/{log}")
    result, _ = project.result("two", "tune", "--resume", place)
    assert (result["run"], result["finished"], result["failures"]) == (place, 2, 0)
    assert storage.read_bytes(f"{place}/{log}") == before, "a finished trial was repeated"
    (second,) = (name for name in names if "/trial-1-" in name and name.endswith("result.json"))
    epochs = [json.loads(line)["epoch"] for line in storage.read_bytes(f"{place}/{second}").splitlines()]
    assert epochs.count(1) == 1, "it began again from nothing"
    best = result["front"][0]["trial"]
    names = storage.sizes(place)
    assert {"trials.parquet", "epochs.parquet", "tuning.html", f"front/trial-{best}.yaml"} <= set(names)
    table = pq.read_table(storage.mirror(place, project.root / "search", leave_out=("tune",)) / "trials.parquet")
    rows = table.to_pylist()
    assert set(epochs) == set(range(1, rows[1]["epochs"] + 1))  # early stopping may have come
    for row in rows:
        assert f"{row['checkpoint']}/model.safetensors" in names
    promoted, _ = project.result("three", "tune", "--run", place, "--promote", str(best))
    run = RunFolder.open(promoted["run"])
    assert run.place.startswith(f"{PLACE}/shared-trial-{best}-promoted")
    assert {"promotion.json", "report.html", "evaluation/test.json"} <= set(storage.sizes(run.place))
    assert min(metrics["roc_auc"] for metrics in promoted["tasks"].values()) > 0.8


def test_a_search_of_several_workers(project: Project) -> None:
    space = {"space": {"training.optimizer.learning_rate": {"choice": [0.01, 0.03]}}, "searcher": "grid"}
    (project.root / "workers.yaml").write_text(yaml.safe_dump(space))
    result, _ = project.result(
        "one", "tune", "--config", "shared.yaml", "--space", "workers.yaml", "--concurrent", "1", "--trials", "1",
        "training.workers=2", "training.epochs=2", "training.cpus_per_worker=0.5",
    )  # fmt: skip
    assert result["finished"] == 1
    names = storage.sizes(result["run"])
    assert "runs/trial-0/metrics.jsonl" in names
    assert any(re.fullmatch(r"runs/trial-0/checkpoints/checkpoint_.*/model.safetensors", name) for name in names)


def test_affinity_and_leak_check(project: Project) -> None:
    affinity, _ = project.result("one", "task_affinity", "--config", "shared.yaml", "--every", "8")
    assert affinity["page"] == f"{PLACE}/task_affinity/shared/task_affinity.html"
    stored = json.loads(storage.read_bytes(affinity["page"].replace(".html", ".json")))
    assert stored["page"] == affinity["page"]
    assert stored["run"] in storage.read_bytes(affinity["page"]).decode()
    assert RunFolder.open(stored["run"]).summary()["steps"] == affinity["training_steps"]

    leaks, _ = project.result("one", "leak_check", "--config", "shared.yaml", "--keep")
    assert leaks["page"] == f"{PLACE}/leak_check/shared/leak_check.html"
    assert leaks["work"].startswith(f"{PLACE}/leak_check/shared/work-")
    assert "spine/part-0.parquet" in storage.sizes(leaks["work"])
    project.result("one", "leak_check", "--config", "shared.yaml", "--rows", "1000")
    names = storage.sizes(f"{PLACE}/leak_check/shared")
    assert {name for name in names if "/" not in name} == {"leak_check.html", "leak_check.json"}
    assert len({name.split("/")[0] for name in names if "/" in name}) == 1


def written(project: Project, name: str) -> Any:
    """When the object was written."""
    return client(project.server).head_object(Bucket="bucket", Key=f"conflict/{name}")["LastModified"]
