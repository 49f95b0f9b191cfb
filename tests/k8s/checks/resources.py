"""Requests and limits of every container, and room for each job under the namespace's quota."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.k8s.objects import Object, Pod, namespace, of_kind, pods, ray_clusters

UNITS = {
    "": 1.0,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def quantity(text: str | int) -> float:
    """A Kubernetes quantity as a number."""
    digits = str(text).rstrip("mkMGTi")
    return float(digits) * UNITS[str(text)[len(digits) :]]


def requested(pod: Pod) -> Counter[str]:
    """What a pod's containers ask for together."""
    total: Counter[str] = Counter()
    for container in pod.containers:
        for name, value in container.get("resources", {}).get("requests", {}).items():
            total[name] += quantity(value)  # type: ignore[assignment]
    return total


def check(objects: list[Object]) -> Iterator[str]:
    for pod in pods(objects):
        for container in pod.containers:
            yield from (f"{pod.where} {container['name']}: {problem}" for problem in _of_container(container))
    for quota in of_kind(objects, "ResourceQuota"):
        yield from _too_large(quota, objects)


def _of_container(container: Object) -> Iterator[str]:
    resources = container.get("resources", {})
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for name in ("cpu", "memory", "ephemeral-storage"):
        if name not in requests:
            yield f"requests no {name}"
    if requests.get("memory") != limits.get("memory"):
        yield "memory is overcommitted: request and limit differ"
    for name, value in limits.items():
        if name in requests and quantity(requests[name]) > quantity(value):
            yield f"requests more {name} than its limit"


def _too_large(quota: Object, objects: list[Object]) -> Iterator[str]:
    allowed = {name.removeprefix("requests."): quantity(value) for name, value in quota["spec"]["hard"].items()}
    every = [pod for pod in pods(objects) if pod.namespace == namespace(quota)]
    for cluster in ray_clusters(objects):
        sizes = {f"worker {group['groupName']}": group.get("maxReplicas", 0) for group in cluster.groups}
        total: Counter[str] = Counter()
        for pod in every:
            if pod.owner is cluster.owner:
                for name, value in requested(pod).items():
                    total[name] += value * sizes.get(pod.part, 1)
        for name, value in total.items():
            if name in allowed and value > allowed[name]:
                yield f"{cluster.where}: {value:g} {name} at its largest, the quota has {allowed[name]:g}"
