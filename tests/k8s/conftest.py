"""What kustomize renders, once a session."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.k8s.objects import K8S, Object, render

OVERLAYS = ("dev", "prod")


@pytest.fixture(scope="session", autouse=True)
def _kubectl() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed, and nothing else renders the manifests")


@pytest.fixture(scope="session")
def overlays() -> dict[str, list[Object]]:
    """The objects of each overlay. A test that changes them copies them first."""
    return {name: render(K8S / "overlays" / name) for name in OVERLAYS}


def components() -> list[Path]:
    """The folders of all components."""
    return sorted(folder for folder in (K8S / "components").iterdir() if folder.is_dir())
