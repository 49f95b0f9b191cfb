"""Volumes: mounted ones exist, claims exist, nothing lies around, and a read-only root has its writable folders."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.objects import Object, Pod, named, pods

WRITABLE = {"mtl-ray-cpu": ("/tmp", "/home/ray"), "mtl-ray-cuda": ("/tmp", "/home/ray")}
"""Image -> folders that it writes to."""


def check(objects: list[Object]) -> Iterator[str]:
    for pod in pods(objects):
        claims = named(objects, "PersistentVolumeClaim", pod.namespace)
        yield from (f"{pod.where}: {problem}" for problem in _problems(pod, claims))


def _problems(pod: Pod, claims: set[str]) -> Iterator[str]:
    volumes = [volume["name"] for volume in pod.spec.get("volumes", ())]
    provided = [claim["metadata"]["name"] for claim in pod.owner["spec"].get("volumeClaimTemplates", ())]
    mounted = set()
    if len(volumes) != len(set(volumes)):
        yield "two volumes of one name"
    for container in pod.containers:
        paths = [mount["mountPath"] for mount in container.get("volumeMounts", ())]
        if len(paths) != len(set(paths)):
            yield f"{container['name']}: two mounts at one path"
        for mount in container.get("volumeMounts", ()):
            mounted.add(mount["name"])
            if mount["name"] not in {*volumes, *provided}:
                yield f"{container['name']}: there is no volume {mount['name']}"
        image = str(container.get("image")).rpartition("/")[2].partition(":")[0]
        for folder in WRITABLE.get(image, ()):
            if folder not in paths:
                yield f"{container['name']}: {folder} is not writable on a read-only root"
    for name in volumes:
        if name not in mounted:
            yield f"volume {name} is mounted nowhere"
    for volume in pod.spec.get("volumes", ()):
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        if claim is not None and claim not in claims:
            yield f"there is no claim {claim}"
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"volume {volume['name']} may fill the node's disk: no sizeLimit"
