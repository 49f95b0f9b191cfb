"""GCS fault tolerance is set through gcsFaultToleranceOptions alone; the operator refuses the older ways beside it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.objects import Object, environment, ray_clusters

ANNOTATIONS = ("ray.io/ft-enabled", "ray.io/external-storage-namespace")


def check(objects: list[Object]) -> Iterator[str]:
    for cluster in ray_clusters(objects):
        containers = cluster.head.get("template", {}).get("spec", {}).get("containers", [])
        for container in containers:
            for name in sorted({"RAY_REDIS_ADDRESS", "REDIS_USERNAME"} & set(environment(container))):
                yield f"{cluster.where}: {name} in the head's environment; use gcsFaultToleranceOptions"
            if "gcsFaultToleranceOptions" in cluster.spec and "REDIS_PASSWORD" in environment(container):
                yield f"{cluster.where}: REDIS_PASSWORD beside gcsFaultToleranceOptions"
        for name in sorted({"redis-password", "redis-username"} & set(cluster.head.get("rayStartParams", {}))):
            yield f"{cluster.where}: {name} in rayStartParams; use gcsFaultToleranceOptions"
        for name in sorted(set(ANNOTATIONS) & set(cluster.owner["metadata"].get("annotations", {}))):
            yield f"{cluster.where}: annotation {name}; use gcsFaultToleranceOptions"
        if "value" in cluster.spec.get("gcsFaultToleranceOptions", {}).get("redisPassword", {}):
            yield f"{cluster.where}: the Redis password is written out"
