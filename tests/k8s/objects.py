"""Kubernetes objects as kustomize renders them, and the pods and Ray clusters that stand in them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

K8S = Path(__file__).parent.parent.parent / "k8s"

Object = dict[str, Any]

TEMPLATE_PATHS = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""Where a built-in kind has its pod template."""


def render(folder: Path) -> list[Object]:
    """What `kubectl kustomize` makes of a folder. Raises CalledProcessError where it refuses."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], check=True, capture_output=True, text=True)
    return parse(done.stdout)


def parse(text: str) -> list[Object]:
    """All documents of a YAML text."""
    return [document for document in yaml.safe_load_all(text) if document]


def key(thing: Object) -> str:
    """`Kind/name`."""
    return f"{thing['kind']}/{thing['metadata'].get('name', '?')}"


def namespace(thing: Object) -> str:
    """Its namespace; the empty text for what belongs to the whole cluster."""
    return str(thing["metadata"].get("namespace", ""))


def of_kind(objects: list[Object], *kinds: str) -> Iterator[Object]:
    """Those of the given kinds."""
    return (thing for thing in objects if thing["kind"] in kinds)


def named(objects: list[Object], kind: str, where: str) -> set[str]:
    """Names of the objects of a kind in a namespace."""
    return {thing["metadata"]["name"] for thing in of_kind(objects, kind) if namespace(thing) == where}


def config_map(objects: list[Object], name: str) -> dict[str, str]:
    """The data of a generated config map, by its name without the hash."""
    found = [thing["data"] for thing in objects if key(thing).rpartition("-")[0] == f"ConfigMap/{name}"]
    assert len(found) == 1, f"{len(found)} config maps {name}"
    data: dict[str, str] = found[0]
    return data


@dataclass(frozen=True)
class RayCluster:
    """A RayCluster, or the one inside a RayJob, RayCronJob or RayService."""

    owner: Object
    spec: Object
    job: Object | None
    """The RayJob's spec, where there is one."""

    @property
    def where(self) -> str:
        return key(self.owner)

    @property
    def head(self) -> Object:
        found: Object = self.spec["headGroupSpec"]
        return found

    @property
    def groups(self) -> list[Object]:
        return list(self.spec.get("workerGroupSpecs", ()))

    @property
    def autoscales(self) -> bool:
        return bool(self.spec.get("enableInTreeAutoscaling"))


def ray_clusters(objects: list[Object]) -> Iterator[RayCluster]:
    """Every Ray cluster that the objects would start."""
    for thing in objects:
        spec = thing.get("spec", {})
        if thing["kind"] == "RayCluster":
            yield RayCluster(thing, spec, None)
        elif thing["kind"] == "RayJob" and "rayClusterSpec" in spec:
            yield RayCluster(thing, spec["rayClusterSpec"], spec)
        elif thing["kind"] == "RayCronJob":
            yield RayCluster(thing, spec["jobTemplate"]["rayClusterSpec"], spec["jobTemplate"])
        elif thing["kind"] == "RayService":
            yield RayCluster(thing, spec["rayClusterConfig"], None)


def ray_jobs(objects: list[Object]) -> Iterator[tuple[str, Object, Object]]:
    """(where, object, RayJob spec) of every RayJob and RayCronJob."""
    for thing in of_kind(objects, "RayJob"):
        yield key(thing), thing, thing["spec"]
    for thing in of_kind(objects, "RayCronJob"):
        yield key(thing), thing, thing["spec"]["jobTemplate"]


@dataclass(frozen=True)
class Pod:
    """A pod template, with the labels and the container that KubeRay adds."""

    owner: Object
    part: str
    """`head`, `worker NAME` or `submitter` inside a Ray object; empty elsewhere."""
    template: Object
    added_labels: dict[str, str] = field(default_factory=dict)
    added_containers: tuple[Object, ...] = ()

    @property
    def where(self) -> str:
        return f"{key(self.owner)} {self.part}".strip()

    @property
    def namespace(self) -> str:
        return namespace(self.owner)

    @property
    def spec(self) -> Object:
        found: Object = self.template.get("spec", {})
        return found

    @property
    def labels(self) -> dict[str, str]:
        return {**(self.template.get("metadata") or {}).get("labels", {}), **self.added_labels}

    @property
    def containers(self) -> list[Object]:
        """All of them, the ones that begin the pod and the autoscaler's among them."""
        return [*self.spec.get("initContainers", ()), *self.spec.get("containers", ()), *self.added_containers]


def pods(objects: list[Object]) -> Iterator[Pod]:
    """Every pod template: of built-in kinds, of Ray's nodes and of submitters."""
    for thing in objects:
        if thing["kind"] in TEMPLATE_PATHS:
            template = thing
            for step in TEMPLATE_PATHS[thing["kind"]]:
                template = template[step]
            yield Pod(thing, "", template)
    for cluster in ray_clusters(objects):
        yield from _ray_pods(cluster)
    for _, thing, spec in ray_jobs(objects):
        if "submitterPodTemplate" in spec:
            yield Pod(thing, "submitter", spec["submitterPodTemplate"])


def _ray_pods(cluster: RayCluster) -> Iterator[Pod]:
    name = cluster.owner["metadata"]["name"]
    common = {"ray.io/is-ray-node": "yes", "ray.io/cluster": name, "app.kubernetes.io/name": "kuberay"}
    autoscaler: tuple[Object, ...] = ()
    if cluster.autoscales:
        autoscaler = ({"name": "autoscaler", "image": None, **cluster.spec.get("autoscalerOptions", {})},)
    labels = {**common, "ray.io/node-type": "head", "ray.io/group": "headgroup"}
    yield Pod(cluster.owner, "head", cluster.head.get("template", {}), labels, autoscaler)
    for group in cluster.groups:
        labels = {**common, "ray.io/node-type": "worker", "ray.io/group": group["groupName"]}
        yield Pod(cluster.owner, f"worker {group['groupName']}", group.get("template", {}), labels)


def environment(container: Object) -> dict[str, Object]:
    """The container's variables by name, as they are written."""
    return {variable["name"]: variable for variable in container.get("env", ())}
