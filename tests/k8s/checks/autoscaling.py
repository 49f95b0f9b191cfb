"""Ray's autoscaler and the sizes of worker groups."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.objects import Object, RayCluster, environment, ray_clusters

SWITCH = "RAY_enable_autoscaler_v2"


def check(objects: list[Object]) -> Iterator[str]:
    for cluster in ray_clusters(objects):
        yield from (f"{cluster.where}: {problem}" for problem in _problems(cluster))


def _problems(cluster: RayCluster) -> Iterator[str]:
    options = cluster.spec.get("autoscalerOptions", {})
    head = cluster.head.get("template", {}).get("spec", {})
    if SWITCH in environment((head.get("containers") or [{}])[0]):
        yield f"{SWITCH} by hand; use autoscalerOptions.version"
    if cluster.autoscales:
        if options.get("version") != "v2":
            yield "autoscalerOptions.version is not v2"
        templates = [("head", cluster.head), *((group["groupName"], group) for group in cluster.groups)]
        for name, group in templates:
            if group.get("template", {}).get("spec", {}).get("restartPolicy", "Never") != "Never":
                yield f"restartPolicy of {name} must be Never under autoscaler v2"
        if any(group.get("suspend") for group in cluster.groups):
            yield "a suspended worker group under the autoscaler"
    elif options:
        yield "autoscalerOptions without enableInTreeAutoscaling"
    for group in cluster.groups:
        low, now, high = (group.get(size, 0) for size in ("minReplicas", "replicas", "maxReplicas"))
        if not low <= now <= high:
            yield f"group {group['groupName']}: minReplicas {low}, replicas {now}, maxReplicas {high}"
        if not cluster.autoscales and now == 0:
            yield f"group {group['groupName']} has no worker and nobody to start one"
