"""Jobs in a queue of Kueue: what its webhook refuses, queues that do not exist, and resources that no queue has."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.checks.resources import requested
from tests.k8s.checks.selection import matches
from tests.k8s.objects import Object, RayCluster, key, named, namespace, of_kind, pods, ray_clusters

QUEUE = "kueue.x-k8s.io/queue-name"
PRIORITY = "kueue.x-k8s.io/priority-class"
MOST_GROUPS = 7


def check(objects: list[Object]) -> Iterator[str]:
    yield from _queues(objects)
    for cluster in ray_clusters(objects):
        queue = cluster.owner["metadata"].get("labels", {}).get(QUEUE)
        # Of jobs alone: k8s/operators/kueue-values.yaml leaves clusters that stay to nobody's queue.
        if cluster.job is not None and "default" in _local(cluster, objects):
            queue = queue or "default"
        if queue is not None:
            yield from (f"{cluster.where}: {problem}" for problem in _managed(cluster, queue, objects))


def _local(cluster: RayCluster, objects: list[Object]) -> set[str]:
    return named(objects, "LocalQueue", namespace(cluster.owner))


def _queues(objects: list[Object]) -> Iterator[str]:
    flavors = named(objects, "ResourceFlavor", "")
    for queue in of_kind(objects, "LocalQueue"):
        if queue["spec"]["clusterQueue"] not in named(objects, "ClusterQueue", ""):
            yield f"{key(queue)}: there is no cluster queue {queue['spec']['clusterQueue']}"
    for queue in of_kind(objects, "ClusterQueue"):
        for group in queue["spec"]["resourceGroups"]:
            for flavor in group["flavors"]:
                if flavor["name"] not in flavors:
                    yield f"{key(queue)}: there is no flavor {flavor['name']}"
                if {resource["name"] for resource in flavor["resources"]} != set(group["coveredResources"]):
                    yield f"{key(queue)}: flavor {flavor['name']} has other resources than its group covers"


def _managed(cluster: RayCluster, queue: str, objects: list[Object]) -> Iterator[str]:
    where, labels = namespace(cluster.owner), cluster.owner["metadata"].get("labels", {})
    if queue not in _local(cluster, objects):
        yield f"there is no queue {queue}"
        return
    if cluster.job is not None and not cluster.job.get("shutdownAfterJobFinishes"):
        yield "Kueue needs shutdownAfterJobFinishes"
    if cluster.autoscales:
        yield "Kueue refuses the in-tree autoscaler"
    if len(cluster.groups) > MOST_GROUPS:
        yield f"Kueue takes at most {MOST_GROUPS} worker groups"
    priority = labels.get(PRIORITY)
    if priority is not None and priority not in named(objects, "WorkloadPriorityClass", ""):
        yield f"there is no workload priority class {priority}"
    for local in of_kind(objects, "LocalQueue"):
        if local["metadata"]["name"] == queue and namespace(local) == where:
            yield from _covered(cluster, local["spec"]["clusterQueue"], objects)


def _covered(cluster: RayCluster, queue: str, objects: list[Object]) -> Iterator[str]:
    names = {thing["metadata"]["name"]: thing["spec"] for thing in of_kind(objects, "ClusterQueue")}
    if queue not in names:
        return
    spec, where = names[queue], namespace(cluster.owner)
    if not matches(spec.get("namespaceSelector", {}), {"kubernetes.io/metadata.name": where}):
        yield f"cluster queue {queue} takes no job of namespace {where}"
    covered = {name for group in spec["resourceGroups"] for name in group["coveredResources"]}
    asked = {name for pod in pods(objects) if pod.owner is cluster.owner for name in requested(pod)}
    if missing := asked - covered:
        yield f"cluster queue {queue} has no {', '.join(sorted(missing))}"
