"""GPUs: KubeRay tells Ray of them by resource keys that end in gpu, and a job must not ask for more than may come."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from tests.k8s.objects import Object, RayCluster, ray_clusters


def check(objects: list[Object]) -> Iterator[str]:
    for cluster in ray_clusters(objects):
        yield from (f"{cluster.where}: {problem}" for problem in _problems(cluster))


def _problems(cluster: RayCluster) -> Iterator[str]:
    gpus = {group["groupName"]: _gpus(group) for group in cluster.groups}
    for group in cluster.groups:
        name, spec = group["groupName"], group.get("template", {}).get("spec", {})
        accelerators = {key for key in _limits(group) if "/" in key and not key.startswith("hugepages")}
        for key in sorted(accelerators):
            if not key.endswith("gpu"):
                yield f"group {name}: Ray would see no GPU in {key}"
        if "gpu" in name and not gpus[name]:
            yield f"group {name} has no GPU"
        started = group.get("rayStartParams", {}).get("num-gpus")
        if started is not None and int(started) != gpus[name]:
            yield f"group {name}: num-gpus {started}, the pod has {gpus[name]}"
        if gpus[name] and "nvidia.com/gpu" not in {rule.get("key") for rule in spec.get("tolerations", ())}:
            yield f"group {name} does not tolerate the taint of GPU nodes"
    if _gpus(cluster.head):
        yield "a GPU on the head, which runs no task"
    words = dict(word.split("=", 1) for word in shlex.split((cluster.job or {}).get("entrypoint", "")) if "=" in word)
    if words.get("training.use_gpu") == "true":
        most = sum(gpus[group["groupName"]] * group.get("maxReplicas", 0) for group in cluster.groups)
        if int(words.get("training.workers", 2)) > most:
            yield f"{words.get('training.workers', 2)} workers with a GPU each, the cluster can grow to {most}"


def _limits(group: Object) -> dict[str, str]:
    containers = group.get("template", {}).get("spec", {}).get("containers") or [{}]
    found: dict[str, str] = containers[0].get("resources", {}).get("limits", {})
    return found


def _gpus(group: Object) -> int:
    return sum(int(value) for key, value in _limits(group).items() if key.endswith("gpu"))
