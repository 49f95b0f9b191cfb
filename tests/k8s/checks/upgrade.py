"""Upgrade strategies: of a RayService the schema takes any text, the operator three words."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.objects import Object, key, of_kind, ray_clusters

OF_SERVICES = ("None", "NewCluster", "NewClusterWithIncrementalUpgrade")
OF_CLUSTERS = ("None", "Recreate")


def check(objects: list[Object]) -> Iterator[str]:
    for thing in of_kind(objects, "RayService"):
        chosen = thing["spec"].get("upgradeStrategy", {}).get("type", "NewCluster")
        if chosen not in OF_SERVICES:
            yield f"{key(thing)}: unknown upgrade type {chosen}"
    for cluster in ray_clusters(objects):
        chosen = cluster.spec.get("upgradeStrategy", {}).get("type", "None")
        if chosen not in OF_CLUSTERS:
            yield f"{cluster.where}: unknown upgrade type {chosen}"
