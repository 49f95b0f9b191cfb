"""Secrets: by reference alone, and only those that k8s/README.md tells people to make."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.k8s.objects import K8S, Object, environment, key, of_kind, pods

TELLING = re.compile(r"PASSWORD|PASSWD|TOKEN|SECRET|CREDENTIAL|ACCESS_KEY|API_KEY", re.IGNORECASE)


def documented() -> dict[str, set[str]]:
    """Secret -> its keys, from the table in k8s/README.md whose first column is `secret`."""
    rows = re.findall(r"^\| `([a-z-]+)` \| ([^|]*) \|", (K8S / "README.md").read_text(), re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", keys)) for name, keys in rows}


def check(objects: list[Object]) -> Iterator[str]:
    known = documented()
    for thing in of_kind(objects, "Secret"):
        yield f"{key(thing)}: a secret in the repository"
    for thing in objects:
        for name, wanted in _references(thing):
            if name not in known:
                yield f"{key(thing)}: secret {name} is not documented"
            elif wanted is not None and wanted not in known[name]:
                yield f"{key(thing)}: secret {name} has no documented key {wanted}"
    for pod in pods(objects):
        for container in pod.containers:
            for name, variable in environment(container).items():
                if TELLING.search(name) and "value" in variable:
                    yield f"{pod.where}: {name} is written out"
    for thing in of_kind(objects, "ConfigMap"):
        for name in thing.get("data", {}):
            if TELLING.search(name):
                yield f"{key(thing)}: {name} in a config map"


def _references(node: Any) -> Iterator[tuple[str, str | None]]:
    """(secret, key or None) wherever the object names a secret."""
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name in ("secretRef", "secretKeyRef") and isinstance(value, dict):
                yield value["name"], value.get("key")
            elif name == "secretName" and isinstance(value, str):
                yield value, None
            elif name == "imagePullSecrets":
                yield from ((item["name"], None) for item in value)
            else:
                yield from _references(value)
