"""checkov on every pod template, those inside custom resources taken out, and hadolint on the image.

Both live in .venv-scan, which `make scan` makes: they cannot share an environment with the package.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.k8s.conftest import OVERLAYS
from tests.k8s.objects import K8S, Object, Pod, pods

TOOLS = K8S.parent / ".venv-scan" / "bin"

pytestmark = pytest.mark.skipif(
    not (TOOLS / "hadolint").is_file(), reason="checkov and hadolint are not installed: make scan"
)


def _as_pod(pod: Pod) -> Object:
    name = re.sub(r"[^a-z0-9]+", "-", pod.where.lower())
    spec = {**pod.spec, "containers": [container for container in pod.containers if container.get("image")]}
    metadata = {"name": name, "namespace": pod.namespace, "labels": pod.labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _scanned(objects: list[Object], folder: Path) -> dict[str, Any]:
    (folder / "objects.yaml").write_text(yaml.safe_dump_all(objects))
    command = [TOOLS / "checkov", "--config-file", K8S.parent / "tests/k8s/checkov.yaml", "--output", "json"]
    done = subprocess.run([*command, "--file", folder / "objects.yaml"], capture_output=True, text=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _failed(report: dict[str, Any]) -> set[tuple[str, str]]:
    return {(check["check_id"], check["resource"]) for check in report["results"]["failed_checks"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_checkov_finds_nothing(overlays: dict[str, list[Object]], overlay: str, tmp_path: Path) -> None:
    templates = [_as_pod(pod) for pod in pods(overlays[overlay])]
    report = _scanned([*overlays[overlay], *templates], tmp_path)
    assert _failed(report) == set()
    assert report["summary"]["passed"] > 50 * len(templates)


def test_checkov_would_find_something(overlays: dict[str, list[Object]], tmp_path: Path) -> None:
    pod = next(_as_pod(pod) for pod in pods(overlays["dev"]) if pod.part == "head")
    pod["spec"] = {**pod["spec"], "hostNetwork": True}
    assert "CKV_K8S_19" in {check for check, _ in _failed(_scanned([pod], tmp_path))}


def test_hadolint_finds_nothing() -> None:
    command = [TOOLS / "hadolint", K8S / "image" / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
