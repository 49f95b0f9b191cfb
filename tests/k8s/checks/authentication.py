"""Ray's token: on in every cluster, by the operator, with a Ray that knows it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.objects import Object, environment, pods, ray_clusters

OLDEST_RAY = (2, 56)
"""Older ones run what anybody sends to the dashboard (CVE-2023-48022, CVE-2025-62593, CVE-2026-27482, 57516)."""


def check(objects: list[Object]) -> Iterator[str]:
    for cluster in ray_clusters(objects):
        if cluster.spec.get("authOptions", {}).get("mode") != "token":
            yield f"{cluster.where}: authOptions.mode is not token"
        version = cluster.spec.get("rayVersion")
        if not version:
            yield f"{cluster.where}: token mode needs rayVersion"
        elif tuple(int(part) for part in str(version).split(".")[:2]) < OLDEST_RAY:
            yield f"{cluster.where}: Ray {version} has known holes"
    for pod in pods(objects):
        for container in pod.containers:
            for name in sorted(
                {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(environment(container))
            ):
                yield f"{pod.where}: {name} set by hand, which overrides the operator's"
