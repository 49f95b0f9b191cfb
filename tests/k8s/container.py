"""A folder that looks like the container in which the manifests run a job's driver.

Of the container only its paths move to the folder; PostgreSQL and Redis become SQLite; and overrides at the end of a
command make its run small.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mtl_ray.storage import CACHE
from tests.k8s.objects import K8S, Object, config_map, key
from tests.ray_head import RayHead

ROOT = K8S.parent

SMALL = "training.workers=1 training.cpus_per_worker=1 training.use_gpu=false training.epochs=1 evaluation.replicates=0"
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

    def on(self, head: RayHead, environment: Mapping[str, str], disk: Path) -> Container:
        """The same in a new pod, which has that folder for a disk, on the cluster of that head."""
        pod = {**head.environment, **environment, "RAY_ADDRESS": head.gcs, CACHE: str(disk)}
        return replace(self, environment={**pod, **self.environment})

    def start(self, command: str) -> subprocess.Popen[str]:
        """As `run`, without waiting for its end."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            self.moved(command), shell=True, cwd=self.root / "opt/mtl-ray", env=self.environment, text=True, **pipes
        )


def container_of(objects: list[Object], root: Path, environment: Mapping[str, str]) -> Container:
    """The head's container of an overlay, in `root`; `environment`: what its pod has beside the overlay's own."""
    left_out = shutil.ignore_patterns("data", "__pycache__", "examples")
    for name in ("feature_repo", "jobs"):
        shutil.copytree(ROOT / name, root / "opt/mtl-ray" / name, ignore=left_out)
    variables = config_map(objects, "environment")
    container = Container(
        root,
        {
            **environment,
            **{name: re.sub(r"^/mnt/mtl-ray", f"{root}/mnt/mtl-ray", value) for name, value in variables.items()},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{root}/opt/mtl-ray:{ROOT}",
        },
    )
    for name, text in config_map(objects, "training-config").items():
        _write(root / "etc/mtl-ray" / name, container.moved(text))
    settings = config_map(objects, "feature-store")["feature_store.yaml"]
    settings = re.sub(r"postgresql\+psycopg://\S+", f"sqlite:///{root}/registry.db", settings)
    settings = re.sub(r"type: redis\n  connection_string: \S+", f"type: sqlite\n  path: {root}/online.db", settings)
    _write(root / "opt/mtl-ray/feature_repo/feature_store.yaml", settings)
    return container


def apply(objects: list[Object], container: Container) -> Container:
    """After the command of the job feast-apply."""
    job = next(thing for thing in objects if key(thing) == "Job/feast-apply")
    words = job["spec"]["template"]["spec"]["containers"][0]["args"]
    done = container.run(" ".join(words))
    assert done.returncode == 0, done.stderr
    return container


def small_search(command: str) -> str:
    small = re.sub(r"--trials \d+ --concurrent \d+ --time-budget \S+", SMALL_SEARCH, command)
    assert SMALL_SEARCH in small
    return f"{small} {SMALL}"


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
