"""The commands in the Kubernetes manifests, run as they stand there: on a Ray cluster, with the config that the
manifests mount and the registry in SQL, on a small shop.

Of a container only its paths move to a folder of the test; PostgreSQL and Redis become SQLite; and overrides at the end
of the command make the run small.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from mtl_ray.run_folder import RunFolder
from tests.k8s.objects import K8S, Object, config_map, key, ray_jobs, render

ROOT = K8S.parent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("ray_cluster"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed: it renders the manifests"),
]

SMALL = "training.workers=1 training.cpus_per_worker=1 training.use_gpu=false training.epochs=1 evaluation.replicates=0"
RETRAIN = "RayCronJob/retrain"
SMALL_SEARCH = "--trials 2 --concurrent 1 --time-budget 10m"


@dataclass(frozen=True)
class Container:
    """A folder that looks like the head's container."""

    root: Path
    environment: dict[str, str]

    def moved(self, text: str) -> str:
        """The text with the container's absolute paths moved into the folder."""
        return re.sub(r"/(mnt|etc|opt)/mtl-ray\b", lambda found: f"{self.root}{found[0]}", text)

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """In a shell, as a Ray job's driver is started."""
        return subprocess.run(
            self.moved(command),
            shell=True,
            cwd=self.root / "opt/mtl-ray",
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def result(self, command: str) -> dict[str, Any]:
        done = self.run(command)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    return render(K8S / "overlays" / "dev")


@pytest.fixture(scope="module")
def entrypoints(objects: list[Object]) -> dict[str, str]:
    """Those of the base, of which an overlay may have other ones or none."""
    return {where: job["entrypoint"] for where, _, job in [*ray_jobs(render(K8S / "base")), *ray_jobs(objects)]}


@pytest.fixture(scope="module")
def container(objects: list[Object], shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Container:
    import ray

    root = tmp_path_factory.mktemp("container")
    (root / "mnt/mtl-ray/data").mkdir(parents=True)
    (root / "mnt/mtl-ray/data/ecommerce").symlink_to(shop.root / "data")
    left_out = shutil.ignore_patterns("data", "__pycache__", "examples")
    for name in ("feature_repo", "jobs"):
        shutil.copytree(ROOT / name, root / "opt/mtl-ray" / name, ignore=left_out)
    variables = config_map(objects, "environment")
    container = Container(
        root,
        {
            **os.environ,
            **{name: re.sub(r"^/mnt/mtl-ray", f"{root}/mnt/mtl-ray", value) for name, value in variables.items()},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{root}/opt/mtl-ray:{ROOT}",
            "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
        },
    )
    for name, text in config_map(objects, "training-config").items():
        _write(root / "etc/mtl-ray" / name, container.moved(text))
    settings = config_map(objects, "feature-store")["feature_store.yaml"]
    settings = re.sub(r"postgresql\+psycopg://\S+", f"sqlite:///{root}/registry.db", settings)
    settings = re.sub(r"type: redis\n  connection_string: \S+", f"type: sqlite\n  path: {root}/online.db", settings)
    _write(root / "opt/mtl-ray/feature_repo/feature_store.yaml", settings)
    return container


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture(scope="module")
def applied(objects: list[Object], container: Container) -> Container:
    """After the command of the job feast-apply."""
    job = next(thing for thing in objects if key(thing) == "Job/feast-apply")
    words = job["spec"]["template"]["spec"]["containers"][0]["args"]
    done = container.run(" ".join(words))
    assert done.returncode == 0, done.stderr
    return container


def test_every_job_has_a_test(entrypoints: dict[str, str]) -> None:
    assert set(entrypoints) == {
        "RayJob/build-training-set",
        "RayJob/train",
        "RayJob/tune",
        "RayCronJob/retrain",
    }


def test_build_and_train(applied: Container, entrypoints: dict[str, str]) -> None:
    built = applied.result(entrypoints["RayJob/build-training-set"])
    trained = applied.result(f"{entrypoints['RayJob/train']} {SMALL}")
    run = Path(trained["run"])
    assert run.is_relative_to(applied.root / "mnt/mtl-ray/runs")
    assert json.loads((run / "training_set.json").read_text())["id"] == built["id"]
    assert list((run / "checkpoints").iterdir())


def test_tune(applied: Container, entrypoints: dict[str, str]) -> None:
    command = re.sub(r"--trials \d+ --concurrent \d+ --time-budget \S+", SMALL_SEARCH, entrypoints["RayJob/tune"])
    assert SMALL_SEARCH in command
    found = applied.result(f"{command} {SMALL}")
    assert found["trials"] == 2
    assert found["failures"] == 0
    assert found["front"]


def test_retrain(applied: Container, entrypoints: dict[str, str], shop: Any) -> None:
    """Two nights, the second of which has newer rows, each followed by a retry after its end."""
    rows = ds.dataset(shop.config["training_set"]["spine"]).to_table().sort_by("event_timestamp")
    spine = applied.root / "mnt/mtl-ray/data/growing"
    spine.mkdir()
    nights = f"storage={applied.root}/mnt/mtl-ray/nights training_set.spine={spine}"
    command = re.sub(r" training\.(workers|cpus_per_worker|use_gpu|global_batch_size)=\S+", "", entrypoints[RETRAIN])
    command = f"{command} {SMALL} training.precision=fp32 {nights}"
    runs = []
    for night, part in enumerate((rows.slice(0, 9_000), rows.slice(9_000))):
        pq.write_table(part, spine / f"part-{night}.parquet")
        first = applied.run(command)
        assert first.returncode == 0, first.stderr
        retried = applied.run(command)
        assert retried.returncode == 0, retried.stderr
        assert "there is nothing new to learn" in retried.stderr
        found, again = json.loads(first.stdout), json.loads(retried.stdout)
        assert again == found
        runs.append(RunFolder.open(found["run"]))
        assert ("weights are drawn" in first.stderr) == (night == 0)
    assert runs[1].config().training.start_from == runs[0].place
    before, after = (json.loads((run.path / "training_set.json").read_text()) for run in runs)
    assert after["appended"]["base"] == before["id"]
    assert sum(after["rows"].values()) == rows.num_rows
    assert len(list((applied.root / "mnt/mtl-ray/nights/training_sets").glob("*/manifest.json"))) == 2
