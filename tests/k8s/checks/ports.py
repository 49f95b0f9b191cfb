"""Ports: what services, probes, monitors and policies mean is what a container offers."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.checks.selection import selected
from tests.k8s.objects import Object, Pod, key, namespace, of_kind, pods

OPERATORS = {6566, 6570}
"""Ports of Feast's servers where the operator writes their containers."""


def check(objects: list[Object]) -> Iterator[str]:
    every = list(pods(objects))
    for pod in every:
        for container in pod.containers:
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                port = container.get(probe, {}).get("httpGet", {}).get("port")
                if port is not None and port not in _ports([pod]):
                    yield f"{pod.where} {probe}: there is no port {port}"
    for service in of_kind(objects, "Service"):
        behind = selected(every, {"matchLabels": service["spec"].get("selector", {})}, namespace(service))
        for port in service["spec"].get("ports", ()):
            target = port.get("targetPort", port["port"])
            if target not in _ports(behind):
                yield f"{key(service)}: no pod has port {target}"
    for monitor in of_kind(objects, "PodMonitor"):
        behind = selected(every, monitor["spec"]["selector"], namespace(monitor))
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            if endpoint["port"] not in _ports(behind):
                yield f"{key(monitor)}: no pod has port {endpoint['port']}"
    yield from _of_policies(objects, every)


def _of_policies(objects: list[Object], every: list[Pod]) -> Iterator[str]:
    for policy in of_kind(objects, "NetworkPolicy"):
        spec = policy["spec"]
        for rule in spec.get("ingress", ()):
            yield from _unknown(policy, rule, selected(every, spec["podSelector"], namespace(policy)))
        for rule in spec.get("egress", ()):
            for peer in rule.get("to", ()):
                if "podSelector" in peer and "namespaceSelector" not in peer:
                    yield from _unknown(policy, rule, selected(every, peer["podSelector"], namespace(policy)))


def _unknown(policy: Object, rule: Object, behind: list[Pod]) -> Iterator[str]:
    for port in rule.get("ports", ()):
        if "endPort" not in port and port["port"] not in _ports(behind) | OPERATORS:
            yield f"{key(policy)}: no pod has port {port['port']}"


def _ports(behind: list[Pod]) -> set[int | str]:
    found: set[int | str] = set()
    for pod in behind:
        for container in pod.containers:
            for port in container.get("ports", ()):
                found |= {port["containerPort"], port.get("name", port["containerPort"])}
    return found
