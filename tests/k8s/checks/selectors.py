"""Selectors that select nothing: a policy or a service for pods that are called otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.k8s.checks.selection import matches, selected
from tests.k8s.objects import Object, Pod, key, namespace, of_kind, pods

NAMESPACES = {"kube-system", "kuberay-system", "monitoring"}
"""Namespaces of others that may be named; k8s/README.md says where each operator is installed."""

PODS_OF_OTHERS = (
    {"k8s-app": "kube-dns"},
    {"app.kubernetes.io/name": "kuberay-operator"},
    {"app.kubernetes.io/name": "prometheus"},
)
"""Labels of pods that others start and that policies name."""

FEAST_OPERATOR = "feast.dev/name"


def check(objects: list[Object]) -> Iterator[str]:
    every = list(pods(objects))
    for thing in of_kind(objects, "NetworkPolicy", "Service", "PodDisruptionBudget", "PodMonitor"):
        for selector in _of_own_pods(thing):
            if not _found(selector, every, thing, objects):
                yield f"{key(thing)}: selects no pod: {selector}"
    for policy in of_kind(objects, "NetworkPolicy"):
        for peer in _peers(policy):
            yield from (f"{key(policy)}: {problem}" for problem in _peer(peer, policy, objects, every))
    for thing in of_kind(objects, "Deployment", "StatefulSet"):
        labels = thing["spec"]["template"]["metadata"].get("labels", {})
        if not matches(thing["spec"]["selector"], labels):
            yield f"{key(thing)}: its selector does not take its own pods"
    for thing in of_kind(objects, "StatefulSet"):
        if not any(
            namespace(s) == namespace(thing) and s["metadata"]["name"] == thing["spec"]["serviceName"]
            for s in of_kind(objects, "Service")
        ):
            yield f"{key(thing)}: there is no service {thing['spec']['serviceName']}"


def _of_own_pods(thing: Object) -> Iterator[Object]:
    spec = thing["spec"]
    if thing["kind"] == "NetworkPolicy":
        yield spec["podSelector"]
    elif thing["kind"] == "Service":
        if spec.get("type") != "ExternalName":
            yield {"matchLabels": spec.get("selector", {})}
    else:
        yield spec["selector"]


def _peers(policy: Object) -> Iterator[Object]:
    spec = policy["spec"]
    for rule in spec.get("ingress", ()):
        yield from rule.get("from", ())
    for rule in spec.get("egress", ()):
        yield from rule.get("to", ())


def _peer(peer: Object, policy: Object, objects: list[Object], every: list[Pod]) -> Iterator[str]:
    if "ipBlock" in peer:
        return
    pod_selector = peer.get("podSelector", {})
    if "namespaceSelector" not in peer:
        if not _found(pod_selector, every, policy, objects):
            yield f"opens to no pod: {pod_selector}"
        return
    name = peer["namespaceSelector"].get("matchLabels", {}).get("kubernetes.io/metadata.name")
    own = {thing["metadata"]["name"] for thing in of_kind(objects, "Namespace")}
    if name not in NAMESPACES | own:
        yield f"opens to an unknown namespace: {name}"
    elif name in NAMESPACES and pod_selector.get("matchLabels") not in PODS_OF_OTHERS:
        yield f"opens to unknown pods of {name}: {pod_selector}"
    elif (
        name in own and not selected(every, pod_selector, name) and not _by_feast_operator(pod_selector, name, objects)
    ):
        yield f"opens to no pod of {name}: {pod_selector}"


def _found(selector: Object, every: list[Pod], thing: Object, objects: list[Object]) -> bool:
    where = namespace(thing)
    return (
        bool(selected(every, selector, where))
        or _by_feast_operator(selector, where, objects)
        or not (selector.get("matchLabels") or selector.get("matchExpressions"))
    )


def _by_feast_operator(selector: Object, where: str, objects: list[Object]) -> bool:
    name: Any = selector.get("matchLabels", {}).get(FEAST_OPERATOR)
    return any(
        thing["metadata"]["name"] == name and namespace(thing) == where for thing in of_kind(objects, "FeatureStore")
    )
