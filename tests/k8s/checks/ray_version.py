"""The Ray that the manifests name is the Ray that the image installs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.k8s.objects import K8S, Object, ray_clusters


def installed() -> str:
    """The version in constraints.txt, which the image installs with."""
    found = re.search(r"^ray==(\S+)$", (K8S.parent / "constraints.txt").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def check(objects: list[Object]) -> Iterator[str]:
    for cluster in ray_clusters(objects):
        version = cluster.spec.get("rayVersion")
        if version and version != installed():
            yield f"{cluster.where}: rayVersion {version}, the image has {installed()}"
