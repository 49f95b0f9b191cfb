"""Config maps that pods name, and the keys that they take out of them."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.objects import Object, Pod, namespace, of_kind, pods

OF_THE_CLUSTER = {"kube-root-ca.crt": {"ca.crt"}}
"""Kubernetes puts it into every namespace."""


def check(objects: list[Object]) -> Iterator[str]:
    for pod in pods(objects):
        known = {
            thing["metadata"]["name"]: set(thing.get("data", {}))
            for thing in of_kind(objects, "ConfigMap")
            if namespace(thing) == pod.namespace
        } | OF_THE_CLUSTER
        for name, wanted in _references(pod):
            if name not in known:
                yield f"{pod.where}: there is no config map {name}"
            elif missing := wanted - known[name]:
                yield f"{pod.where}: config map {name} has no key {', '.join(sorted(missing))}"


def _references(pod: Pod) -> Iterator[tuple[str, set[str]]]:
    for volume in pod.spec.get("volumes", ()):
        sources = [volume, *volume.get("projected", {}).get("sources", ())]
        for source in (source["configMap"] for source in sources if "configMap" in source):
            wanted = {item["key"] for item in source.get("items", ())}
            if not wanted:
                wanted = _sub_paths(pod, volume["name"])
            yield source["name"], wanted
    for container in pod.containers:
        for source in container.get("envFrom", ()):
            if "configMapRef" in source:
                yield source["configMapRef"]["name"], set()
        for variable in container.get("env", ()):
            reference = variable.get("valueFrom", {}).get("configMapKeyRef")
            if reference:
                yield reference["name"], {reference["key"]}


def _sub_paths(pod: Pod, volume: str) -> set[str]:
    mounts = (mount for container in pod.containers for mount in container.get("volumeMounts", ()))
    return {mount["subPath"] for mount in mounts if mount["name"] == volume and "subPath" in mount}
