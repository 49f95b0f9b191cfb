"""Everything renders, and passes the strict schemas of Kubernetes and of the operators' CRDs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.k8s.conftest import OVERLAYS, components
from tests.k8s.objects import K8S, Object, parse, pods, render

VALIDATOR = K8S.parent.parent / "shared" / "k8s" / "validate.py"
"""The operators' CRDs and a validator: handed to developers beside a clone, not part of this repository."""

PODIFY = VALIDATOR.with_name("podify.py")

FOLDERS = [K8S / "base", *(K8S / "overlays" / name for name in OVERLAYS), *components()]

NEEDED = ("kubernetes_validate", "cel", "jsonschema")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_it_renders(folder: Path) -> None:
    assert render(folder)


def test_every_folder_is_looked_at() -> None:
    found = {file.parent for file in K8S.rglob("kustomization.yaml")}
    assert found == set(FOLDERS)


@pytest.mark.skipif(not VALIDATOR.is_file(), reason="../shared is absent: CRD schemas and CEL rules were left out")
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED),
    reason="kubernetes-validate or common-expression-language is not installed: CRD schemas were left out",
)
def test_everything_passes_the_schemas(tmp_path: Path) -> None:
    for folder in FOLDERS:
        objects = yaml.safe_dump_all(render(folder))
        (tmp_path / f"{folder.parent.name}-{folder.name}.yaml").write_text(objects)
    done = subprocess.run([sys.executable, VALIDATOR, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith(" objects, 0 bad")


@pytest.mark.skipif(not PODIFY.is_file(), reason="../shared is absent: its extraction of pod templates was left out")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_checks_see_every_pod_inside_a_custom_resource(overlays: dict[str, list[Object]], overlay: str) -> None:
    text = yaml.safe_dump_all(overlays[overlay])
    done = subprocess.run([sys.executable, PODIFY], input=text, capture_output=True, text=True, check=True)
    ours = [pod.spec for pod in pods(overlays[overlay]) if pod.part]
    theirs = [pod["spec"] for pod in parse(done.stdout)]
    assert len(ours) >= 10
    assert sorted(map(str, ours)) == sorted(map(str, theirs))
