"""The commands in the Kubernetes manifests, run as they stand there: on a Ray cluster, with the config that the
manifests mount and the registry in SQL, on a small shop."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from mtl_ray.run_folder import RunFolder
from tests.k8s.container import SMALL, Container, apply, container_of, small_search
from tests.k8s.objects import K8S, Object, ray_jobs, render

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("ray_cluster"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed: it renders the manifests"),
]

RETRAIN = "RayCronJob/retrain"


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    return render(K8S / "overlays" / "dev")


@pytest.fixture(scope="module")
def entrypoints(objects: list[Object]) -> dict[str, str]:
    """Those of the base, of which an overlay may have other ones or none."""
    return {where: job["entrypoint"] for where, _, job in [*ray_jobs(render(K8S / "base")), *ray_jobs(objects)]}


@pytest.fixture(scope="module")
def container(objects: list[Object], shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Container:
    """With the data on the shared volume, on the Ray of these tests."""
    import ray

    root = tmp_path_factory.mktemp("container")
    (root / "mnt/mtl-ray/data").mkdir(parents=True)
    (root / "mnt/mtl-ray/data/ecommerce").symlink_to(shop.root / "data")
    return container_of(objects, root, {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address})


@pytest.fixture(scope="module")
def applied(objects: list[Object], container: Container) -> Container:
    return apply(objects, container)


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
    """Followed by a retry after its end."""
    command = small_search(entrypoints["RayJob/tune"])
    found = applied.result(command)
    assert found["trials"] == 2
    assert found["failures"] == 0
    assert found["front"]
    retried = applied.run(command)
    assert json.loads(retried.stdout) == found
    assert f"{found['run']} has ended: nothing is repeated" in retried.stderr
    assert len(list((applied.root / "mnt/mtl-ray/runs/searches").iterdir())) == 1


def test_retrain(applied: Container, entrypoints: dict[str, str], shop: Any) -> None:
    """Two nights, the second of which has newer rows, each followed by a retry after its end."""
    rows = ds.dataset(shop.config["training_set"]["spine"]).to_table().sort_by("event_timestamp")
    spine = applied.root / "mnt/mtl-ray/data/growing"
    spine.mkdir()
    nights = "storage=/mnt/mtl-ray/nights training_set.spine=/mnt/mtl-ray/data/growing"
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
