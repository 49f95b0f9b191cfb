"""The network: closed but for openings that are meant, and the dashboard and client port shut to the outside."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.checks.selection import selected
from tests.k8s.objects import Object, Pod, key, namespace, of_kind, pods

DASHBOARD, CLIENT = 8265, 10001
METADATA = "169.254.0.0/16"
MAY_SUBMIT = (
    {"ray.io/is-ray-node": "yes"},
    {"app.kubernetes.io/component": "ray-submitter"},
    {"app.kubernetes.io/name": "kuberay-operator"},
)
SOURCES = {"feature-store": (5432, 6379), "object-store": (443,)}
"""Secret of a store -> ports that a pod which holds it needs to reach."""


def check(objects: list[Object]) -> Iterator[str]:
    every = list(pods(objects))
    for where in sorted({pod.namespace for pod in every}):
        if not any(_denies_all(policy) for policy in _policies(objects, where)):
            yield f"namespace {where}: no policy denies everything by default"
    for thing in of_kind(objects, "Service"):
        if thing["spec"].get("type", "ClusterIP") in ("LoadBalancer", "NodePort"):
            yield f"{key(thing)}: {thing['spec']['type']} opens it to the outside"
    for thing in of_kind(objects, "Ingress", "HTTPRoute", "Gateway"):
        yield f"{key(thing)}: a way in from the outside"
    for policy in of_kind(objects, "NetworkPolicy"):
        yield from (f"{key(policy)}: {problem}" for problem in _openings(policy, every))
    for pod in every:
        yield from (f"{pod.where}: {problem}" for problem in _ways_out(pod, objects))


def _policies(objects: list[Object], where: str) -> Iterator[Object]:
    return (policy for policy in of_kind(objects, "NetworkPolicy") if namespace(policy) == where)


def _denies_all(policy: Object) -> bool:
    spec = policy["spec"]
    return (
        not spec["podSelector"]
        and set(spec.get("policyTypes", ())) == {"Ingress", "Egress"}
        and not spec.get("ingress")
        and not spec.get("egress")
    )


def _openings(policy: Object, every: list[Pod]) -> Iterator[str]:
    spec = policy["spec"]
    for direction, side in (("ingress", "from"), ("egress", "to")):
        if spec.get(direction) and direction.capitalize() not in spec.get("policyTypes", ()):
            yield f"{direction} rules without that policy type"
        for rule in spec.get(direction, ()):
            if not rule.get(side) or not rule.get("ports"):
                yield f"an {direction} rule without peers or ports opens everything"
            for peer in rule.get(side, ()):
                block = peer.get("ipBlock", {})
                if block.get("cidr") == "0.0.0.0/0" and (
                    direction == "ingress" or METADATA not in block.get("except", ())
                ):
                    yield f"{direction} to every address, the metadata service among them"
    heads = [pod for pod in selected(every, spec["podSelector"], namespace(policy)) if pod.part == "head"]
    for rule in spec.get("ingress", ()) if heads else ():
        if any(_covers(port, guarded) for port in rule.get("ports", ()) for guarded in (DASHBOARD, CLIENT)):
            for peer in rule.get("from", ()):
                if peer.get("podSelector", {}).get("matchLabels") not in MAY_SUBMIT:
                    yield f"opens the dashboard or the client port to {peer}"


def _covers(port: Object, number: int) -> bool:
    low = port.get("port")
    return isinstance(low, int) and low <= number <= port.get("endPort", low)


def _ways_out(pod: Pod, objects: list[Object]) -> Iterator[str]:
    """What a pod holds credentials for it must be able to reach."""
    open_ports = {
        port["port"]
        for policy in _policies(objects, pod.namespace)
        if selected([pod], policy["spec"]["podSelector"], pod.namespace)
        for rule in policy["spec"].get("egress", ())
        for port in rule.get("ports", ())
    }
    if pod.part == "submitter" and DASHBOARD not in open_ports:
        yield "the submitter cannot reach the dashboard"
    stores_known = any("datastores" in thing["metadata"]["name"] for thing in of_kind(objects, "NetworkPolicy"))
    for container in pod.containers:
        for source in container.get("envFrom", ()):
            name = source.get("secretRef", {}).get("name")
            if name == "feature-store" and not stores_known:
                continue  # the base alone has no stores; a component brings them and the way to them
            for port in SOURCES.get(name, ()):
                if port not in open_ports:
                    yield f"holds {name} and cannot reach port {port}"
